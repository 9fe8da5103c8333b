//! Messages of and for AWS's own client.

use queue_runtime_core::{ErrorKind, Message};

use crate::kit::{Kit, boto3, localstack, ministack};

#[test]
fn a_stranger_reads_what_we_send() {
    let kit = Kit::new(&localstack().endpoint(), "");
    let queue = kit.queue("to-stranger");
    let message = Message::new("grüße")
        .header("kind", "job")
        .header("lang", "de")
        .content_type("text/plain");
    kit.run(queue.send(message)).unwrap();
    let seen = boto3(
        localstack(),
        r#"
url = sqs.get_queue_url(QueueName='to-stranger')['QueueUrl']
m = sqs.receive_message(QueueUrl=url, MessageAttributeNames=['All'], WaitTimeSeconds=5)['Messages'][0]
a = m['MessageAttributes']
print(m['Body'], a['kind']['StringValue'], a['lang']['StringValue'], a['queue_runtime']['StringValue'])
"#,
    );
    assert_eq!(seen, r#"grüße job de {"content_type":"text/plain"}"#);
}

#[test]
fn we_read_what_a_stranger_sends() {
    let kit = Kit::new(&localstack().endpoint(), "");
    let queue = kit.queue("from-stranger");
    boto3(
        localstack(),
        r#"
url = sqs.get_queue_url(QueueName='from-stranger')['QueueUrl']
sqs.send_message(QueueUrl=url, MessageBody='{"order": 7}', MessageAttributes={
  'kind': {'DataType': 'String', 'StringValue': 'job'},
  'count': {'DataType': 'Number', 'StringValue': '7'},
  'raw': {'DataType': 'Binary', 'BinaryValue': b'\x01\x02\x03'}})
"#,
    );
    let [delivery] = &kit.receive(&queue, 1)[..] else {
        panic!()
    };
    assert_eq!(delivery.body().as_ref(), br#"{"order": 7}"#);
    assert_eq!(delivery.header("kind"), Some("job"));
    assert_eq!(delivery.header("count"), Some("7"));
    assert_eq!(delivery.header("raw"), Some("AQID"));
    assert_eq!(delivery.session(), None);
}

#[test]
fn a_stranger_reads_bytes_in_base64() {
    let kit = Kit::new(&localstack().endpoint(), "");
    let queue = kit.queue("bytes-to-stranger");
    kit.run(queue.send(vec![0u8, 255, 10])).unwrap();
    let seen = boto3(
        localstack(),
        r#"
import base64
url = sqs.get_queue_url(QueueName='bytes-to-stranger')['QueueUrl']
m = sqs.receive_message(QueueUrl=url, MessageAttributeNames=['All'], WaitTimeSeconds=5)['Messages'][0]
print(list(base64.b64decode(m['Body'])), json.loads(m['MessageAttributes']['queue_runtime']['StringValue'])['body'])
"#,
    );
    assert_eq!(seen, "[0, 255, 10] base64");
}

#[test]
fn groups_and_dedup_ids_are_the_same_for_strangers() {
    let kit = Kit::new(&localstack().endpoint(), "&fifo=true");
    let queue = kit.queue("group-stranger");
    kit.run(queue.send(Message::new("ours").session("s").dedup_id("d-1")))
        .unwrap();
    let seen = boto3(
        localstack(),
        r#"
url = sqs.get_queue_url(QueueName='group-stranger.fifo')['QueueUrl']
m = sqs.receive_message(QueueUrl=url, AttributeNames=['All'], WaitTimeSeconds=5)['Messages'][0]
print(m['Attributes']['MessageGroupId'], m['Attributes']['MessageDeduplicationId'])
sqs.delete_message(QueueUrl=url, ReceiptHandle=m['ReceiptHandle'])
sqs.send_message(QueueUrl=url, MessageBody='theirs', MessageGroupId='t', MessageDeduplicationId='d-2')
"#,
    );
    assert_eq!(seen, "s d-1");
    let [delivery] = &kit.receive(&queue, 1)[..] else {
        panic!()
    };
    assert_eq!(delivery.body().as_ref(), b"theirs");
    assert_eq!(delivery.session(), Some("t"));
    assert_eq!(delivery.properties().dedup_id.as_deref(), Some("d-2"));
    assert!(delivery.sequence() > 0);
}

#[test]
fn what_is_not_due_goes_on_its_way() {
    let kit = Kit::new(&ministack().endpoint(), "&long_delay=hop");
    let queue = kit.queue("hop");
    let sent = kit
        .run(queue.send(Message::new("a").id("order-1")))
        .unwrap();
    let delivery = kit.receive(&queue, 1).remove(0);
    kit.run(delivery.ack()).unwrap();
    // As this library sends a message that is due in three seconds, after its last hop but one.
    boto3(
        ministack(),
        r#"
import time
url = sqs.get_queue_url(QueueName='hop')['QueueUrl']
extra = {'id': 'order-1', 'not_before': int(time.time() * 1000) + 3000, 'sent_at': 1000}
sqs.send_message(QueueUrl=url, MessageBody='a', MessageAttributes={
  'queue_runtime': {'DataType': 'String', 'StringValue': json.dumps(extra)}})
"#,
    );
    let early = kit.run(queue.receive(&crate::kit::look())).unwrap();
    assert!(early.is_empty(), "it is not due");
    let [delivery] = &kit.receive(&queue, 1)[..] else {
        panic!()
    };
    assert_eq!((delivery.id(), delivery.attempt()), (&sent.id, 1));
    assert_eq!(delivery.enqueued_at().0, 1000);
}

#[test]
fn a_long_delay_is_refused_unless_it_is_asked_for() {
    let day = Message::new("a").delay(crate::kit::seconds(86_400));
    let plain = Kit::new(&ministack().endpoint(), "");
    let queue = plain.queue("day");
    let error = plain.run(queue.send(day.clone())).unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ErrorKind::InvalidMessage, Some("delay"))
    );
    let hopping = Kit::new(&ministack().endpoint(), "&long_delay=hop");
    let queue = hopping.open("day");
    hopping.run(queue.send(day)).unwrap();
    assert_eq!(hopping.run(queue.statistics()).unwrap().delayed, 1);
}

#[test]
fn a_session_on_a_standard_queue_is_refused_or_a_fair_group() {
    let plain = Kit::new(&localstack().endpoint(), "");
    let queue = plain.queue("fair");
    let error = plain
        .run(queue.send(Message::new("a").session("tenant")))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let fair = Kit::new(&localstack().endpoint(), "&fair_groups=true");
    let queue = fair.open("fair");
    fair.run(queue.send(Message::new("a").session("tenant")))
        .unwrap();
    let [delivery] = &fair.receive(&queue, 1)[..] else {
        panic!()
    };
    assert_eq!(delivery.session(), Some("tenant"));
}
