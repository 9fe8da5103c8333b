// Thirty seconds in C++17: send, receive, ack.

#include <chrono>
#include <iostream>

#include "queue_runtime.hpp"

using namespace std::chrono_literals;
namespace qr = queue_runtime;

int main() {
    const qr::Runtime runtime = qr::Runtime::make().value();
    const qr::Client client = runtime.connect("memory:").get();
    const qr::Queue orders = client.queue("orders").value();

    // Messages of one session are handled in order, by one receiver at a time.
    qr::Message lattes("two lattes");
    lattes.session("table-7");
    orders.send(lattes).get();
    // A message may come later, expire, carry headers, and be stored once however often it is sent.
    qr::Message reminder("close the kitchen");
    reminder.header("kind", "reminder").delay(1h).dedup_id("kitchen-2026-05-04");
    orders.send(reminder).get();

    while (const auto order = orders.receive_one(100ms).get()) {
        std::cout << "attempt " << order->attempt() << ": " << order->text() << "\n";
        order->ack().get();  // or nack, release, dead_letter
    }
}
