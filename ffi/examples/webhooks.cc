// The main job on real input: 329 webhooks as GitHub sends them, through `memory:`, from C++.
//
// Webhooks of one pull request or issue are handled in the order they were sent, one at a time;
// those of different ones side by side. One webhook fails on purpose until it is dead-lettered, and
// its session waits (`on_failure = park`) until it is sent back. At the end everything must add up,
// or the program fails.

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include <nlohmann/json.hpp>

#include "queue_runtime.hpp"

namespace qr = queue_runtime;
using namespace std::chrono_literals;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

namespace {

/// Handlers that take a session and work through it; handlers that take whatever is ready.
constexpr std::size_t session_handlers = 6, plain_handlers = 2;
/// The webhook that cannot be handled before it was redriven.
const std::string failing = "issues-15";

struct Webhook {
    std::string id, event, session, payload;
};

/// What must stay in order: one pull request or issue, else what is left of one repository. Empty
/// for events of no repository.
std::string session_key(const json &payload) {
    const auto repository = payload.find("repository");
    if (repository == payload.end() || !repository->contains("full_name")) return {};
    const std::string name = (*repository)["full_name"];
    for (const char *subject : {"pull_request", "issue"}) {
        const auto found = payload.find(subject);
        if (found != payload.end() && found->is_object() && found->contains("number"))
            return name + "#" + std::to_string((*found)["number"].get<std::uint64_t>());
    }
    return name;
}

std::vector<Webhook> load(const char *path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(std::string(path) + ": scripts/setup fetches the payloads");
    std::vector<Webhook> webhooks;
    for (const json &event : json::parse(file)) {
        std::size_t number = 0;
        const std::string name = event["name"];
        for (const json &payload : event["examples"])
            webhooks.push_back({name + "-" + std::to_string(number++), name, session_key(payload),
                                payload.dump()});
    }
    return webhooks;
}

/// One attempt at one message, as its handler saw it.
struct Attempt {
    std::string id, event;
    std::size_t handler;
    std::uint32_t number;
    bool handled;
    Clock::time_point started, ended;
};

/// The attempts of all handlers.
class Log {
public:
    void add(Attempt attempt) {
        const std::lock_guard lock(mutex_);
        attempts_.push_back(std::move(attempt));
        changed_.notify_one();
    }
    void await(std::size_t count) {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, 60s, [&] { return attempts_.size() >= count; }))
            throw std::runtime_error("the handlers stopped after " +
                                     std::to_string(attempts_.size()) + " attempts");
    }
    std::vector<Attempt> take() { return std::move(attempts_); }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Attempt> attempts_;
};

/// Reads the webhook and checks that it came whole and in the right session; why not, or empty.
std::string handle(const qr::Delivery &delivery) {
    const json payload = json::parse(delivery.text(), nullptr, false);
    if (payload.is_discarded() || session_key(payload) != delivery.message().session())
        return "this payload is broken or of another session";
    // Here a handler waits for a database or a peer, and others go on meanwhile.
    std::this_thread::yield();
    const bool redriven = !delivery.message().header("qrt-redrive-count").empty();
    return delivery.id() == failing && !redriven ? "the issue tracker is down" : "";
}

class Handler {
public:
    Handler(std::size_t number, const qr::Queue &queue, Log &log)
        : number_(number), queue_(queue), log_(log) {}

    /// Works until the client is closed.
    void work() const try {
        if (number_ < session_handlers)
            work_on_sessions();
        else
            work_on_anything();
    } catch (const qr::Error &error) {
        if (error.status() != QRT_ERR_CLOSED) throw;
    }

private:
    /// Takes one session after the other and works through each, in order.
    [[noreturn]] void work_on_sessions() const {
        qr::ReceiveOptions look_once;
        look_once.wait = 0ms;
        for (;;) {
            const auto session = queue_.accept_next_session().get();
            if (!session) continue;
            for (;;) {
                const qr::Batch batch = session->receive(look_once).get();
                if (batch.empty()) break;
                work_on(batch[0]);
            }
            session->close().get();
        }
    }

    /// Takes one message after the other. One of a session holds that session until it is settled.
    [[noreturn]] void work_on_anything() const {
        for (;;)
            if (const auto delivery = queue_.receive_one().get()) work_on(*delivery);
    }

    void work_on(const qr::Delivery &delivery) const {
        const auto started = Clock::now();
        const std::string reason = handle(delivery);
        const auto ended = Clock::now();
        if (reason.empty())
            delivery.ack().get();
        else
            delivery.nack(reason).get();
        log_.add({std::string(delivery.id()), std::string(delivery.message().header("event")),
                  number_, delivery.attempt(), reason.empty(), started, ended});
    }

    std::size_t number_;
    const qr::Queue &queue_;
    Log &log_;
};

void ensure(bool holds, const std::string &otherwise) {
    if (!holds) throw std::runtime_error(otherwise);
}

/// Every webhook was handled once, and all but the failing one at the first attempt.
void check_handled(const std::vector<Webhook> &webhooks, const std::vector<Attempt> &attempts) {
    std::multiset<std::string> sent, handled;
    for (const Webhook &webhook : webhooks) sent.insert(webhook.id + webhook.event);
    std::vector<std::uint32_t> failed;
    for (const Attempt &attempt : attempts) {
        if (attempt.handled) handled.insert(attempt.id + attempt.event);
        if (attempt.id == failing) failed.push_back(attempt.number);
        ensure(attempt.id == failing || attempt.number == 1,
               attempt.id + " was delivered again and had not failed");
    }
    ensure(sent == handled, "what was handled is not what was sent");
    ensure(failed == std::vector<std::uint32_t>{1, 2, 3, 4, 5, 1},
           failing + " did not use up its budget and come back");
}

/// In each session messages were handled as sent, one at a time. Answers how many messages that was
/// checked for.
std::size_t check_order(const std::vector<Webhook> &webhooks,
                        const std::vector<Attempt> &attempts) {
    std::map<std::string, std::string> session_of;
    std::map<std::string, std::vector<std::string>> sent, seen;
    std::map<std::string, Clock::time_point> ended;
    for (const Webhook &webhook : webhooks) {
        if (webhook.session.empty()) continue;
        session_of[webhook.id] = webhook.session;
        sent[webhook.session].push_back(webhook.id);
    }
    for (const Attempt &attempt : attempts) {
        const auto session = session_of.find(attempt.id);
        if (session == session_of.end()) continue;
        auto &ids = seen[session->second];
        // Several attempts at one message in a row are one place in the order.
        if (ids.empty() || ids.back() != attempt.id) ids.push_back(attempt.id);
        const auto before = ended.find(session->second);
        ensure(before == ended.end() || attempt.started >= before->second,
               session->second + ": two handlers at one time");
        ended[session->second] = attempt.ended;
    }
    ensure(sent == seen, "a session was not handled in its order");
    return session_of.size();
}

void print_events(const std::vector<Attempt> &attempts) {
    constexpr std::size_t columns = 3;
    std::map<std::string, int> counts;
    for (const Attempt &attempt : attempts) counts[attempt.event] += attempt.handled;
    const std::vector<std::pair<std::string, int>> cells(counts.begin(), counts.end());
    const std::size_t rows = (cells.size() + columns - 1) / columns;
    std::printf("\nHandled, by event (%zu events)\n", cells.size());
    for (std::size_t row = 0; row < rows; row++) {
        for (std::size_t at = row; at < cells.size(); at += rows)
            std::printf("%s%-30s %3d", at == row ? "  " : "   ", cells[at].first.c_str(),
                        cells[at].second);
        std::printf("\n");
    }
}

/// The most attempts that went on at one time.
std::size_t side_by_side(const std::vector<Attempt> &attempts) {
    std::size_t most = 0;
    for (const Attempt &at : attempts)
        most = std::max(most, static_cast<std::size_t>(std::count_if(
                                  attempts.begin(), attempts.end(), [&](const Attempt &other) {
                                      return other.started <= at.started &&
                                             at.started < other.ended;
                                  })));
    return most;
}

void print_result(const std::vector<Webhook> &webhooks, const std::vector<Attempt> &attempts,
                  std::size_t ordered, std::size_t sessions) {
    std::array<std::size_t, session_handlers + plain_handlers> by_handler{};
    for (const Attempt &attempt : attempts) by_handler[attempt.handler]++;
    std::string counts;
    for (std::size_t count : by_handler)
        counts += (counts.empty() ? "" : " + ") + std::to_string(count);
    std::printf("\nResult\n");
    std::printf("  handled       %zu of %zu\n", webhooks.size(), webhooks.size());
    std::printf("  in order      %zu messages of %zu sessions, one at a time in each\n", ordered,
                sessions);
    std::printf("  attempts      %zu, %zu failed on purpose\n", attempts.size(),
                attempts.size() - webhooks.size());
    std::printf("  by handler    %s\n", counts.c_str());
    std::printf("  at one time   up to %zu\n", side_by_side(attempts));
}

/// The failing webhook and those behind it in its session.
std::size_t held_back(const std::vector<Webhook> &webhooks) {
    const auto first = std::find_if(webhooks.begin(), webhooks.end(),
                                    [](const Webhook &webhook) { return webhook.id == failing; });
    return static_cast<std::size_t>(
        std::count_if(first, webhooks.end(), [&](const Webhook &webhook) {
            return webhook.session == first->session;
        }));
}

void run(const char *path) {
    const std::vector<Webhook> webhooks = load(path);
    const qr::Runtime runtime;
    const qr::Client client = runtime.connect("memory:").get();
    const qr::Queue queue = client.queue("webhooks", R"({"on_failure": "park"})").value();

    Log log;
    std::vector<std::thread> handlers;
    for (std::size_t number = 0; number < session_handlers + plain_handlers; number++)
        handlers.emplace_back([handler = Handler(number, queue, log)] { handler.work(); });

    std::set<std::string> sessions;
    std::size_t free = 0;
    for (const Webhook &webhook : webhooks) {
        qr::Message message(webhook.payload);
        message.id(webhook.id).header("event", webhook.event).content_type("application/json");
        if (webhook.session.empty()) {
            free++;
        } else {
            message.session(webhook.session);
            sessions.insert(webhook.session);
        }
        queue.send(message).get();
    }
    std::printf("Sent %zu webhooks to memory: %zu in %zu sessions (a pull request, an issue, or "
                "the rest of a repository), %zu without one\n",
                webhooks.size(), webhooks.size() - free, sessions.size(), free);

    // Everything is handled but what is held back: the failing webhook, which uses up its budget of
    // 5, and what is behind it in its session.
    const std::size_t waiting = held_back(webhooks);
    log.await(webhooks.size() - waiting + 5);
    const qr::DeadLetters letters = queue.dead_letters(10).get();
    std::printf("\nDead letters, before they are redriven\n");
    for (std::size_t i = 0; i < letters.size(); i++) {
        const qr::DeadLetter letter = letters[i];
        const std::string_view session = letter.message.session();
        std::printf("  message       %.*s\n", static_cast<int>(letter.id.size()), letter.id.data());
        std::printf("  session       %.*s\n", static_cast<int>(session.size()), session.data());
        std::printf("  reason        %.*s\n", static_cast<int>(letter.reason.size()),
                    letter.reason.data());
        std::printf("  description   %.*s\n", static_cast<int>(letter.description.size()),
                    letter.description.data());
        std::printf("  attempts      %u\n", letter.attempts);
        std::printf("  waiting       %zu messages behind it\n", waiting - 1);
    }
    const qr::RedriveReport redriven = queue.redrive().get();
    ensure(letters.size() == 1 && redriven.redriven() == 1, "there is not one dead letter");
    log.await(webhooks.size() + 5);

    const qr::Statistics left = queue.statistics().get();
    client.close().get();
    for (std::thread &handler : handlers) handler.join();
    ensure(left.depth == 0 && left.dead == 0, "something is left in the queue");
    std::vector<Attempt> attempts = log.take();
    std::sort(attempts.begin(), attempts.end(),
              [](const Attempt &a, const Attempt &b) { return a.started < b.started; });
    check_handled(webhooks, attempts);
    const std::size_t ordered = check_order(webhooks, attempts);
    print_events(attempts);
    print_result(webhooks, attempts, ordered, sessions.size());
}

}  // namespace

int main(int count, char **arguments) try {
    if (count != 2) throw std::runtime_error("usage: webhooks PAYLOADS.json");
    run(arguments[1]);
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
