// A second unit with the header in it, and nothing that throws: it compiles without exceptions too.

#include "queue_runtime.hpp"

std::string body_of_first(const queue_runtime::Batch &batch);

std::string body_of_first(const queue_runtime::Batch &batch) {
    return std::string(batch[0].text());
}

int send_without_exceptions(const queue_runtime::Queue &queue);

int send_without_exceptions(const queue_runtime::Queue &queue) {
    auto sent = queue.send(queue_runtime::Message("a")).result();
    return sent ? 0 : sent.error().status();
}
