// The C++ header does what the C ABI does: at once, later, in failure, in both manners.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>

#include <poll.h>

#include "queue_runtime.hpp"

namespace qr = queue_runtime;
using namespace std::chrono_literals;

static const char *test_name = "";

#define CHECK(what)                                                                         \
    do {                                                                                    \
        if (!(what)) {                                                                      \
            std::printf("not ok - %s at %s:%d: %s\n", test_name, __FILE__, __LINE__, #what); \
            std::exit(1);                                                                   \
        }                                                                                   \
    } while (0)

#define RUN(test)                          \
    do {                                   \
        test_name = #test;                 \
        test();                            \
        std::printf("ok - cxx %s\n", #test); \
        std::fflush(stdout);               \
    } while (0)

// Defined in the other unit: the header may be in several.
std::string body_of_first(const qr::Batch &batch);

struct World {
    qr::Runtime runtime = qr::Runtime::make(R"({"worker_threads": 2})", true).value();
    qr::Client client = runtime.connect("memory:").get();
    qr::Queue queue;

    explicit World(std::string_view options = {}) : queue(client.queue("jobs", options).value()) {}
    ~World() { CHECK(runtime.shutdown(30s)); }
};

static qr::ReceiveOptions look(std::uint32_t max) {
    qr::ReceiveOptions options;
    options.max_messages = max;
    options.wait = 0ms;
    return options;
}

static void a_message_passes_whole() {
    World w;
    qr::Message message = qr::Message::taking(std::string("the body"));
    message.header("kind", "test").id("m-1").session("s").correlation_id("c").content_type("t");
    message.dedup_id("d").ttl(1h);
    const qr::SendResult sent = w.queue.send(message).get();
    CHECK(sent.id == "m-1" && !sent.is_duplicate);
    CHECK(w.queue.send(message).get().is_duplicate);
    const qr::Batch batch = w.queue.receive(look(10)).get();
    CHECK(batch.size() == 1 && body_of_first(batch) == "the body");
    const qr::Delivery delivery = batch[0];
    const qr::MessageView view = delivery.message();
    CHECK(delivery.id() == "m-1" && delivery.attempt() == 1 && view.session() == "s");
    CHECK(view.header("kind") == "test" && view.header("none").empty());
    CHECK(view.header_count() == 1 && view.header_at(0).second == "test");
    CHECK(view.correlation_id() == "c" && view.content_type() == "t" && view.dedup_id() == "d");
    CHECK(view.ttl() == qr::Milliseconds(1h) && !view.delay());
    CHECK(delivery.locked_until() == w.runtime.now() + 30s);
    delivery.extend(60s).get();
    CHECK(delivery.locked_until() == w.runtime.now() + 60s);
    delivery.ack().get();
    CHECK(delivery.is_settled());
}

static void a_message_goes_into_the_session_of_its_key() {
    World w;
    const auto session = [&](std::string_view key, qr::Timestamp now = {}) {
        qr::Message message("x");
        message.header("tenant", "a/b").header("order", "7").session_by(key, now);
        CHECK(!message.error());
        return std::string(message.view().session());
    };
    CHECK(session(R"({"composite": ["tenant", "order"], "prefix": "o-"})") == "o-a%2Fb/7");
    CHECK(session(R"({"field": "customer"})").empty());
    CHECK(session(R"({"field": "order", "per_hours": 6})", qr::Timestamp(12h)) == "7-p2");
    qr::Message wrong("x");
    CHECK(wrong.session_by(R"({"feild": "customer"})").error()->field() == "session_key");
}

static void a_queue_explains_itself() {
    World w(R"({"budget": 2, "retry": "fixed:4s"})");
    qr::Message message("x");
    w.queue.send(message.id("m")).get();
    CHECK(w.queue.explain().get()->find("after attempt 1: 4s later") != std::string::npos);
    CHECK(w.queue.explain("m").get()->find("message m of jobs: ready") == 0);
    CHECK(w.queue.explain("m", 0).get()->find(R"("standing":"ready")") != std::string::npos);
    CHECK(w.queue.explain("m", 1).result().error().field() == "flags");
}

static void an_error_in_both_manners() {
    World w;
    w.queue.send(qr::Message("a")).get();
    const qr::Delivery delivery = w.queue.receive_one().get().value();
    delivery.ack().get();
    const qr::Result<void> again = delivery.ack().result();
    CHECK(!again && again.error().status() == QRT_ERR_INVALID_RECEIPT);
    CHECK(again.error().kind() == "invalid_receipt" && again.error().queue() == "jobs");
    bool thrown = false;
    try {
        delivery.nack("no").get();
    } catch (const qr::Error &error) {
        thrown = error.status() == QRT_ERR_INVALID_RECEIPT && error.what()[0] != '\0';
    }
    CHECK(thrown);
    const auto small = w.client.queue("small", R"({"max_message_bytes": 3})").value();
    const auto large = small.send(qr::Message("long")).result();
    CHECK(!large && large.error().sizes()->first == 4 && large.error().sizes()->second == 3);
    CHECK(!large.error().retryable() && !large.error().retry_after());
    CHECK(w.client.queue("q", "{").error().status() == QRT_ERR_INVALID_CONFIG);
    CHECK(!qr::Runtime::make("{"));
}

static void what_a_message_refuses_is_the_error_of_its_sending() {
    World w;
    qr::Message message("a");
    message.header("\xff", "v").session("s");
    CHECK(message.error() && message.view().session() == "s");
    CHECK(w.queue.send(message).result().error().field() == "name");
    std::vector<qr::Message> messages;
    messages.emplace_back("good");
    messages.push_back(std::move(message));
    CHECK(w.queue.send_many(messages).result().error().field() == "name");
    CHECK(w.queue.statistics().get().ready == 0);
}

static void many_at_once() {
    World w(R"({"budget": 1, "retry": "none"})");
    std::vector<qr::Message> messages;
    for (const char *body : {"a", "b", "c", "d"}) messages.emplace_back(body);
    const qr::SendResults sent = w.queue.send_many(messages).get();
    CHECK(sent.size() == 4 && !sent[0].value().id.empty());
    std::vector<qr::Delivery> deliveries;
    for (qr::Delivery delivery : w.queue.receive(look(10)).get())
        deliveries.push_back(std::move(delivery));
    CHECK(deliveries.size() == 4 && deliveries[3].text() == "d");
    CHECK(w.queue.extend(deliveries, 60s).get().size() == 4);
    qr::Settlements settlements;
    CHECK(settlements.ack(deliveries[0]) && settlements.nack(deliveries[1], "bad"));
    CHECK(settlements.dead_letter(deliveries[2], "poison", "at length"));
    CHECK(settlements.release(deliveries[3]) && settlements.size() == 4);
    const qr::SettleResults settled = w.queue.settle(settlements).get();
    for (std::size_t i = 0; i < settled.size(); i++) CHECK(settled[i]);
    const qr::SettleResults twice = w.queue.settle(settlements).get();
    CHECK(!twice[0] && twice[0].error().status() == QRT_ERR_INVALID_RECEIPT);

    const qr::Statistics statistics = w.queue.statistics().get();
    CHECK(statistics.ready == 1 && statistics.dead == 2 && statistics.depth == 1);
    const qr::DeadLetters letters = w.queue.dead_letters(10).get();
    CHECK(letters.size() == 2 && letters[0].reason == "max_attempts");
    CHECK(letters[1].reason == "poison" && letters[1].description == "at length");
    CHECK(letters[1].message.text() == "c" && letters[1].source == "jobs");
    CHECK(letters[1].first_delivered_at == w.runtime.now());
    qr::DeadLetterFilter poison;
    poison.reason = "poison";
    const qr::DeadLetterStatistics dead = w.queue.dead_letter_statistics().get();
    CHECK(dead.count() == 2 && dead.bytes() == 2 && dead.oldest() == w.runtime.now());
    CHECK(dead.by_reason().size() == 2 && dead.by_reason()[0].name == "max_attempts");
    CHECK(dead.by_reason()[1].count == 1 && dead.by_reason()[1].newest == w.runtime.now());
    CHECK(dead.by_source().size() == 1 && dead.by_source()[0].name == "jobs");
    CHECK(dead.by_age().size() == 5 && dead.by_age()[0].count == 2);
    CHECK(dead.by_age()[0].up_to == 60s && !dead.by_age()[4].up_to);
    CHECK(w.queue.dead_letter_statistics(poison).get().count() == 1);
    poison.session = "none";
    CHECK(!w.queue.dead_letter_statistics(poison).get().newest());
    poison.session.clear();
    qr::RedriveOptions dry;
    dry.dry_run = true;
    CHECK(w.queue.redrive(poison, dry).get().matched() == 1);
    CHECK(w.queue.redrive(poison).get().redriven() == 1);
    CHECK(w.queue.purge_dead_letters().get() == 1);
    const qr::Peeked peeked = w.queue.peek(10).get();
    CHECK(peeked.size() == 2 && peeked[0].message.text() == "d" && peeked[0].attempts == 0);
    CHECK(peeked[0].state == QRT_STATE_READY);
}

static void sessions_keep_order_and_state() {
    World w;
    for (const char *body : {"1", "2"}) {
        qr::Message message(body);
        w.queue.send(message.session("s")).get();
    }
    CHECK(!w.queue.accept_session("s", 5s).get().state().get());
    qr::Session session = w.queue.accept_next_session(0ms).get().value();
    CHECK(session.id() == "s" && !w.queue.accept_next_session(0ms).get());
    CHECK(w.queue.accept_session("s").result().error().status() == QRT_ERR_SESSION_LOCKED);
    session.set_state("half").get();
    CHECK(session.state().get() == "half");
    session.set_state(std::nullopt).get();
    CHECK(!session.state().get());
    CHECK(session.receive(look(10)).get().size() == 2);
    session.renew(60s).get();
    CHECK(session.locked_until() == w.runtime.now() + 60s);
    session.close().get();
}

static void sessions_are_worked_through() {
    World w;
    for (const char *session : {"a", "b"}) {
        for (const char *body : {"1", "2"}) {
            qr::Message message(body);
            w.queue.send(message.session(session)).get();
        }
    }
    {
        qr::Session session = w.queue.accept_session("a").get();
        qr::Consumer consumer = session.consume().value();
        qr::Delivery first = consumer.next().get().value();
        CHECK(first.text() == "1");
        first.ack().get();
        session.close().get();
        CHECK(consumer.next().result().error().status() == QRT_ERR_SESSION_LOCK_LOST);
    }
    qr::ConsumerOptions options;
    options.max_sessions = 1;
    options.min_concurrency = 2;
    options.scale_cooldown = 1s;
    qr::Consumer consumer = w.queue.consume(options).value();
    CHECK(consumer.status().value().find("\"concurrency\":2") != std::string::npos);
    std::string seen;
    for (int i = 0; i < 3; i++) {
        qr::Delivery delivery = consumer.next().get().value();
        seen += delivery.text();
        delivery.ack().get();
    }
    CHECK(seen == "122" || seen == "212");
}

static void a_group_has_a_maximum_in_hand() {
    World w(R"({"fair_groups": true})");
    for (const char *body : {"1", "2"}) w.queue.send(qr::Message(body).session("a")).get();
    w.queue.send(qr::Message("other").session("b")).get();
    qr::ConsumerOptions options;
    options.max_in_flight_per_group = 1;
    qr::Consumer consumer = w.queue.consume(options).value();
    qr::Delivery first = consumer.next().get().value();
    qr::Delivery other = consumer.next().get().value();
    CHECK(first.text() == "1" && other.text() == "other");
    first.ack().get();
    CHECK(consumer.next().get().value().text() == "2");
    CHECK(w.queue.accept_session("a").result().error().status() == QRT_ERR_UNSUPPORTED);
}

static void a_verb_ends_later_in_every_manner() {
    World w;
    std::promise<std::string> told;
    w.queue.receive_one(1h).then([&](qr::Result<std::optional<qr::Delivery>> result) {
        CHECK(w.queue.receive_one(1h).result().error().status() == QRT_ERR_WOULD_DEADLOCK);
        (*result)->ack().get();
        told.set_value(std::string((*result)->text()));
    });
    w.queue.send(qr::Message("for then")).get();
    CHECK(told.get_future().get() == "for then");

    std::future<qr::Batch> later = w.queue.receive().future();
    w.queue.send(qr::Message("for the future")).get();
    CHECK(body_of_first(later.get()) == "for the future");

    qr::Operation<qr::Batch> operation = w.queue.receive().start();
    CHECK(!operation.has_ended() && !*operation.wait(0ms));
    w.queue.send(qr::Message("for the operation")).get();
    CHECK(*operation.wait(30s) && operation.get().size() == 1);

    int at_once = 0;
    w.queue.send(qr::Message("x")).then([&](const qr::Result<qr::SendResult> &sent) {
        at_once += sent.has_value();
    });
    CHECK(at_once == 1);
    CHECK(w.queue.receive(look(1)).future().get().size() == 1);
    auto failed = w.client.queue("none", R"({"create": "never"})").value().receive().future();
    bool thrown = false;
    try {
        failed.get();
    } catch (const qr::Error &error) {
        thrown = error.status() == QRT_ERR_QUEUE_NOT_FOUND;
    }
    CHECK(thrown);
}

static void a_cancelled_receive_takes_nothing() {
    World w;
    {
        qr::Operation<qr::Batch> operation = w.queue.receive().start();
        operation.cancel();
        CHECK(operation.result().error().status() == QRT_ERR_CANCELLED);
        const auto forgotten = w.queue.receive().start();
        forgotten.cancel();
        CHECK(*forgotten.wait(30s));
    }
    w.queue.send(qr::Message("kept")).get();
    CHECK(w.queue.receive_one().get()->attempt() == 1);
}

static void a_range_gives_back_what_it_did_not_give_out() {
    World w;
    for (int i = 0; i < 20; i++) w.queue.send(qr::Message(std::to_string(i))).get();
    {
        qr::ConsumerOptions options;
        options.max_messages = 4;
        options.credits = 8;
        qr::Consumer consumer = w.queue.consume(options).value();
        int count = 0;
        for (const qr::Delivery &delivery : consumer) {
            CHECK(delivery.text() == std::to_string(count));
            delivery.ack().get();
            if (++count == 5) break;
        }
    }
    std::set<std::string> left;
    while (left.size() < 15) {
        const qr::Delivery delivery = w.queue.receive_one(1h).get().value();
        CHECK(delivery.attempt() == 1 && left.emplace(delivery.text()).second);
        delivery.ack().get();
    }
    CHECK(w.queue.statistics().get().depth == 0);
}

static void a_range_ends_when_it_is_stopped() {
    World w;
    qr::Consumer consumer = w.queue.consume().value();
    std::thread stopper([&] { consumer.stop().get(); });
    for (const qr::Delivery &delivery : consumer) CHECK(delivery.text().empty());
    stopper.join();
    qr::Consumer other = w.queue.consume().value();
    w.client.close().get();
    CHECK(!other.next().get());
}

static void a_range_keeps_locks_and_drains() {
    World w(R"({"lock": "10s"})");
    for (const char *body : {"a", "b", "c"}) w.queue.send(qr::Message(body)).get();
    qr::Consumer consumer = w.queue.consume().value();
    const qr::Batch batch = consumer.next_batch(2).get();
    std::optional<qr::Delivery> a(batch[0]);
    if (batch.size() < 2) CHECK(consumer.next().get().value().text() == "b");
    for (int i = 0; i < 6; i++) {
        w.runtime.advance(5s).value();
        while (a->locked_until() != w.runtime.now() + 10s) std::this_thread::yield();
    }
    CHECK(a->cancelled() == QRT_CANCEL_NONE);
    qr::Operation<void> told = a->wait_cancelled().start();
    a->ack().get();
    told.cancel();
    const qr::DrainReport report = consumer.drain(0ms).get();
    CHECK(report.finished() + report.released() + report.abandoned() >= 1);
    CHECK(!consumer.next().get());
}

static void a_range_is_held_back() {
    World w(R"({"retry": "none"})");
    for (const char *body : {"a", "b"}) w.queue.send(qr::Message(body)).get();
    qr::ConsumerOptions options;
    options.breaker = "1,60s,1";
    options.credits = 1;
    qr::Consumer consumer = w.queue.consume(options).value();
    const auto says = [&](const char *part) {
        return consumer.status().value().find(part) != std::string::npos;
    };
    consumer.next().get()->nack().get();
    CHECK(says(R"("breaker":"open")"));
    consumer.reset_breaker().value();
    CHECK(says(R"("breaker":"closed")"));
    consumer.pause().value();
    CHECK(says(R"("paused":true)"));
    while (w.queue.statistics().get().ready < 2) std::this_thread::yield();
    consumer.resume().value();
    CHECK(consumer.next().get()->text() == "a");
    CHECK(w.queue.breaker_state() == QRT_BREAKER_CLOSED);
    w.queue.reset_breaker().value();
    CHECK(w.client.breaker_state() == QRT_BREAKER_CLOSED);
    w.client.reset_breaker().value();
    options.breaker = "sometimes";
    CHECK(!w.queue.consume(options));
}

static void a_subscription_calls_until_it_is_stopped() {
    World w;
    std::atomic<int> count{0};
    std::promise<void> five;
    qr::Subscription subscription =
        w.queue
            .subscribe([&](const qr::Batch &batch) {
                for (const qr::Delivery &delivery : batch) {
                    delivery.ack().get();
                    if (++count == 5) five.set_value();
                }
            })
            .value();
    for (int i = 0; i < 5; i++) w.queue.send(qr::Message("x")).get();
    five.get_future().get();
    CHECK(subscription.grant(5));
    subscription.stop().get();
    w.queue.send(qr::Message("after")).get();
    CHECK(count == 5 && w.queue.statistics().get().ready == 1);
}

static void an_event_queue_gathers_ends() {
    World w;
    qr::Events events = qr::Events::make(w.runtime).value();
    std::promise<void> woken;
    CHECK(events.set_wake([&] { woken.set_value(); }));
    auto operation = w.queue.receive().start();
    CHECK(*events.watch(operation, 7));
    CHECK(events.drain(4).empty());
    CHECK(!*events.watch(w.queue.statistics().start(), 8));
    w.queue.send(qr::Message("a")).get();
    woken.get_future().get();
    pollfd readable = {events.fd(), POLLIN, 0};
    CHECK(poll(&readable, 1, 0) == 1);
    std::vector<qr::Event> ended = events.drain(4);
    CHECK(ended.size() == 1 && ended[0].tag() == 7);
    CHECK(body_of_first(ended[0].take<qr::Batch>().value()) == "a");
}

static void a_folder_without_a_store_is_not_read() {
    CHECK(qr::verify_store("/nowhere").error().message().find("/nowhere") != std::string::npos);
    CHECK(!qr::dump_store("/nowhere", [](std::string_view) { return true; }).has_value());
}

static void objects_move_and_go_in_any_order() {
    auto runtime = std::make_unique<qr::Runtime>();
    auto client = std::make_unique<qr::Client>(runtime->connect("memory:").get());
    auto queue = std::make_unique<qr::Queue>(client->queue("jobs").value());
    queue->send(qr::Message("a")).get();
    qr::Delivery delivery = std::move(*queue->receive_one().get());
    runtime.reset();
    client.reset();
    queue.reset();
    const qr::Delivery moved = std::move(delivery);
    CHECK(moved.text() == "a");
    moved.ack().get();
    CHECK(qr::version().size() > 0);
}

static void batches_and_producers() {
    const World w;
    qr::ProducerOptions sending;
    sending.batch_size = 2;
    const qr::Producer producer = w.queue.producer(sending).value();
    std::future<qr::SendResult> a = producer.send(qr::Message("a")).future();
    std::future<qr::SendResult> b = producer.try_send(qr::Message("b")).future();
    CHECK(a.get().id != b.get().id);
    std::future<qr::SendResult> c = producer.send(qr::Message("c")).future();
    producer.flush().get();
    CHECK(!c.get().is_duplicate);
    const qr::ProducerReport report = producer.close(0ms).get();
    CHECK(report.sent() == 3 && report.failed() == 0 && report.unsent().empty());

    qr::ConsumerOptions receiving;
    receiving.batch_size = 3;
    receiving.batch_linger = 1h;
    qr::Consumer consumer = w.queue.consume(receiving).value();
    CHECK(consumer.next_batch(100).get().size() == 3);
}

static void write_behind_into_a_callback() {
    World w;
    std::atomic<std::size_t> written{0};
    auto sink = [&](qr::WriteBatch batch) {
        for (std::size_t i = 0; i < batch.size(); i++)
            if (batch[i].body.text() == "bad")
                CHECK(batch.refuse(i, QRT_ERR_INVALID_MESSAGE, "no good"));
            else
                written++;
        CHECK(std::move(batch).finish());
    };
    const qr::WriteBehind sut = w.runtime.write_behind("", sink).get();
    sut.enqueue("a", "k").get();
    sut.enqueue("bad").get();
    const std::vector<qr::Entry> more = {{"c", "k"}, {"d"}};
    CHECK(sut.enqueue_many(more).get().size() == 2);
    sut.flush().get();
    CHECK(written == 2);  // c stands for a
    const qr::WriteBehindMetrics metrics = sut.metrics().value();
    CHECK(metrics.enqueued == 4 && metrics.persisted == 3 && metrics.failed == 1);
    CHECK(metrics.depth == 0 && metrics.timestamp == w.runtime.now());
    const std::vector<qr::RejectedEntry> rejected = sut.take_rejected().value();
    CHECK(rejected.size() == 1 && rejected[0].body == "bad" && rejected[0].attempts == 1);
    CHECK(rejected[0].description == "no good" && rejected[0].reason == "invalid_message");
    CHECK(sut.breaker_state() == QRT_BREAKER_CLOSED);
    CHECK(sut.close(1s).get().unwritten.empty());
    CHECK(sut.enqueue("late").result().error().status() == QRT_ERR_CLOSED);
}

static void write_behind_asked_for_and_fed() {
    World w;
    const qr::WriteBehind sut =
        w.runtime.write_behind_asked(R"({"batch_size": 2, "max_entries": 4})").get();
    w.queue.send(qr::Message("a")).get();
    w.queue.send(qr::Message("b")).get();
    auto feed = sut.feed(w.queue).start();
    std::optional<qr::WriteBatch> batch = sut.next().get();
    CHECK(batch && batch->size() == 2 && (*batch)[0].body.text() == "a");
    CHECK(w.queue.statistics().get().in_flight == 2);
    CHECK(std::move(*batch).finish());
    sut.flush().get();
    CHECK(w.queue.statistics().get().depth == 0);
    for (const char *body : {"1", "2", "3", "4"}) sut.enqueue(body, body).get();
    CHECK(sut.try_enqueue("5").result().error().status() == QRT_ERR_FULL);
    const qr::CloseReport report = sut.close(0ms).get();
    CHECK(report.unwritten.size() == 4 && report.unwritten[3].first == "4");
    CHECK(report.unwritten[3].second == "4" && report.left_in_journal == 0);
    CHECK(report.rejected.empty());
    feed.get();
    CHECK(!sut.next().get());
    const qr::Error error = w.runtime.write_behind("{}").result().error();
    CHECK(error.status() == QRT_ERR_INVALID_CONFIG && error.field() == "sink");
}

static void time_and_metrics() {
    World w;
    const auto before = w.runtime.now();
    CHECK(w.runtime.advance(5s) && w.runtime.now() == before + 5s);
    CHECK(!w.runtime.advance(-1s));
    w.queue.send(qr::Message("a")).get();
    CHECK(w.runtime.metrics().value().find("queue_runtime_") != std::string::npos);
    CHECK(w.client.capabilities().value().find("\"memory\"") != std::string::npos);
    CHECK(w.queue.create().result().error().status() == QRT_ERR_ALREADY_EXISTS);
}

int main() {
    RUN(a_message_passes_whole);
    RUN(a_message_goes_into_the_session_of_its_key);
    RUN(a_queue_explains_itself);
    RUN(an_error_in_both_manners);
    RUN(what_a_message_refuses_is_the_error_of_its_sending);
    RUN(many_at_once);
    RUN(sessions_keep_order_and_state);
    RUN(sessions_are_worked_through);
    RUN(a_group_has_a_maximum_in_hand);
    RUN(a_verb_ends_later_in_every_manner);
    RUN(a_cancelled_receive_takes_nothing);
    RUN(a_range_gives_back_what_it_did_not_give_out);
    RUN(a_range_ends_when_it_is_stopped);
    RUN(a_range_keeps_locks_and_drains);
    RUN(a_range_is_held_back);
    RUN(a_subscription_calls_until_it_is_stopped);
    RUN(an_event_queue_gathers_ends);
    RUN(a_folder_without_a_store_is_not_read);
    RUN(objects_move_and_go_in_any_order);
    RUN(batches_and_producers);
    RUN(write_behind_into_a_callback);
    RUN(write_behind_asked_for_and_fed);
    RUN(time_and_metrics);
}
