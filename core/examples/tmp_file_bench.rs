use queue_runtime_core::*;
use std::future::Future; use std::pin::pin; use std::task::{Context,Poll,Waker}; use std::time::*;
fn now<F: Future>(f: F) -> F::Output { match pin!(f).poll(&mut Context::from_waker(Waker::noop())) { Poll::Ready(o)=>o, _=>panic!("pending") } }
fn main() {
  let a: Vec<String> = std::env::args().collect(); let url=&a[1]; let b: usize=a[2].parse().unwrap(); let n: usize=a[3].parse().unwrap();
  let depth: usize = a.get(4).map_or(0, |d| d.parse().unwrap());
  let rt = Runtime::new(RuntimeConfig::default()).unwrap();
  let c = rt.block_on(rt.connect(url.as_str())).unwrap().unwrap();
  let q = c.queue_with("bench", QueueOptions{max_messages:Some(10_000_000), max_bytes:Some(1<<40), ..Default::default()}).unwrap();
  let body=[0x5au8;1024];
  let send=|k:usize| blocking(|| now(q.send_many((0..k).map(|_| Message::new(rt.bodies().copy(&body)))))).unwrap();
  for _ in 0..depth/1000 { send(1000); }
  let opt=ReceiveOptions::new().max_messages(b as u32).wait(Duration::ZERO);
  let (mut ts,mut tr,mut ta)=(0.,0.,0.);
  let t0=Instant::now();
  for _ in 0..n/b {
    let t=Instant::now(); if b==1 { blocking(|| now(q.send(Message::new(rt.bodies().copy(&body))))).unwrap(); } else { send(b); } ts+=t.elapsed().as_secs_f64();
    let t=Instant::now();
    if b==1 { let d=now(q.receive_one(Duration::ZERO)).unwrap().unwrap(); tr+=t.elapsed().as_secs_f64(); let t=Instant::now(); blocking(|| now(d.ack())).unwrap(); ta+=t.elapsed().as_secs_f64(); }
    else { let d=now(q.receive(&opt)).unwrap(); tr+=t.elapsed().as_secs_f64(); assert_eq!(d.len(),b); let t=Instant::now(); let acks=d.iter().map(|d| d.settlement(Verb::Ack)).collect(); blocking(|| now(q.settle(acks))).unwrap(); ta+=t.elapsed().as_secs_f64(); }
  }
  let e=t0.elapsed().as_secs_f64(); let m=n as f64;
  println!("{url} b{b}: {:.0}/s  s {:.2} r {:.2} a {:.2} us/msg", m/e, ts/m*1e6, tr/m*1e6, ta/m*1e6);
}
