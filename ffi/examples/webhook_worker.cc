// A worker of the demo that crosses processes, in C++: it shares the webhooks of a `file:` store with
// workers in other languages, and reports each one it handled in another queue of the store.
//
//     webhook_worker URL [HANG]
//
// With HANG it gets stuck in the handler of its HANG-th webhook, for somebody to kill it there.

#include <cstdio>
#include <exception>
#include <thread>

#include <nlohmann/json.hpp>

#include "queue_runtime.hpp"

namespace qr = queue_runtime;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

void handle(const qr::Delivery &delivery, const qr::Queue &handled) {
    const json webhook = json::parse(delivery.text());
    std::this_thread::sleep_for(5ms);
    const json report = {
        {"worker", "C++"},
        {"id", std::string(delivery.id())},
        {"attempt", delivery.attempt()},
        {"sender", webhook.value("/sender/login"_json_pointer, "")},
    };
    // Reported before it is acked: a crash between the two shows as a second report.
    handled.send(qr::Message(report.dump())).get();
    delivery.ack().get();
}

void work(const char *url, long hang) {
    const qr::Runtime runtime = qr::Runtime::make().value();
    const qr::Client client = runtime.connect(url).get();
    const qr::Queue webhooks = client.queue("webhooks").value();
    const qr::Queue handled = client.queue("handled").value();
    // It ends when nothing came for two seconds.
    for (long count = 1; const auto delivery = webhooks.receive_one(2s).get(); count++) {
        if (count == hang) {
            std::printf("stuck with %s\n", std::string(delivery->id()).c_str());
            std::fflush(stdout);
            for (;;) std::this_thread::sleep_for(1h);
        }
        handle(*delivery, handled);
    }
}

}  // namespace

int main(int count, char **arguments) {
    if (count < 2) {
        std::fprintf(stderr, "usage: %s URL [HANG]\n", arguments[0]);
        return 2;
    }
    try {
        work(arguments[1], count > 2 ? std::stol(arguments[2]) : 0);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
