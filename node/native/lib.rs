//! The native half of the npm package `queue-runtime`: a client of the C ABI inside Node.
//!
//! JavaScript and this half share two pieces of memory: a *request*, which JavaScript fills with
//! the arguments of a verb, and a *page*, which the verb fills with its reply. A verb is called as
//! a function without arguments or result, which costs Node next to nothing; what is large or rarely
//! looked at stays bytes until somebody asks for it. Clients, queues, sessions and deliveries are
//! numbers to JavaScript (`link.rs`).
//!
//! A verb that ends at once has its reply in the page when the call returns. One that does not
//! replies with a number, and its end is told by one wake-up for all that ended (`wake.rs`);
//! `drain` then writes their replies.

mod addon;
mod link;
mod memory;
mod reply;
mod verbs;
mod wake;
