/*
 * queue_runtime for C++17: the C ABI with owners, views and results. Header only; link the library.
 *
 * VERBS. What may take time is a verb: `queue.receive(options)` says what is to be done, and the
 * call after it how:
 *
 *     .get()       begins it, waits for it and gives its value; throws Error
 *     .result()    the same, without exceptions: a Result, which holds the value or the Error
 *     .then(f)     begins it and calls f with the Result, exactly once: on this thread when it
 *                  ended at once, else on a thread of the runtime
 *     .future()    begins it and gives a std::future
 *     .start()     begins it and gives an Operation: to poll, wait for, cancel, or hand to Events
 *
 * A verb that none of these follows does nothing, and the compiler warns. Its arguments must live
 * until it has begun. What cannot wait gives a Result itself: `client.queue("orders").value()`.
 * With QUEUE_RUNTIME_NO_EXCEPTIONS (set by itself under -fno-exceptions) nothing throws; value()
 * and get() of an error then end the program.
 *
 * OWNERSHIP. Every class but the views owns its handle, can be moved and not copied, and frees it;
 * to free never waits and never throws. Objects may go in any order. Views (std::string_view,
 * Bytes, MessageView) borrow from the object that gave them. A moved-from object may only be
 * assigned to or destroyed.
 *
 * THREADS. Objects may be used from any thread at once, but Message and Settlements: those one
 * thread at a time may change. Callbacks run on threads of the runtime; they may call everything
 * but what waits (get, result, wait, shutdown), which gives the error would_deadlock there. An
 * exception that leaves a callback ends the program.
 */

#ifndef QUEUE_RUNTIME_HPP
#define QUEUE_RUNTIME_HPP

#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "queue_runtime.h"

#if !defined(QUEUE_RUNTIME_NO_EXCEPTIONS) && !defined(__cpp_exceptions)
#define QUEUE_RUNTIME_NO_EXCEPTIONS 1
#endif

namespace queue_runtime {

using Milliseconds = std::chrono::milliseconds;
/// A moment of the calendar.
using Timestamp = std::chrono::time_point<std::chrono::system_clock, Milliseconds>;

/// Bytes that somebody else owns.
class Bytes {
public:
    Bytes() = default;
    Bytes(const void *data, std::size_t size)
        : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}
    Bytes(std::string_view text) : Bytes(text.data(), text.size()) {}
    Bytes(const std::string &text) : Bytes(text.data(), text.size()) {}
    Bytes(const char *text) : Bytes(std::string_view(text)) {}
    Bytes(const std::vector<std::uint8_t> &bytes) : Bytes(bytes.data(), bytes.size()) {}

    const std::uint8_t *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    const std::uint8_t *begin() const noexcept { return data_; }
    const std::uint8_t *end() const noexcept { return data_ + size_; }
    /// The same bytes as characters.
    std::string_view text() const noexcept {
        return {reinterpret_cast<const char *>(data_), size_};
    }

private:
    const std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {

inline qrt_bytes_t lend(Bytes bytes) noexcept { return {bytes.data(), bytes.size()}; }

inline std::string_view text(qrt_bytes_t bytes) noexcept {
    return {reinterpret_cast<const char *>(bytes.data), bytes.len};
}

inline Timestamp moment(std::int64_t ms) noexcept { return Timestamp(Milliseconds(ms)); }

inline std::optional<Milliseconds> some_ms(std::int64_t ms) noexcept {
    return ms < 0 ? std::nullopt : std::optional<Milliseconds>(ms);
}

inline std::int64_t ms_or_none(std::optional<Milliseconds> duration) noexcept {
    return duration ? duration->count() : -1;
}

constexpr qrt_completion_t nobody = {nullptr, nullptr, nullptr};

template <class T, void (*free)(T *)>
struct Free {
    void operator()(T *handle) const noexcept { free(handle); }
};

template <class T, void (*free)(T *)>
using Handle = std::unique_ptr<T, Free<T, free>>;

}  // namespace detail

/// What went wrong, where, and what to do. Cheap to copy.
class Error : public std::exception {
public:
    explicit Error(qrt_error_t *owned) : error_(owned, qrt_error_free), text_(message()) {}
    /// An error that something else holds, and keeps alive.
    Error(const qrt_error_t *borrowed, std::shared_ptr<const void> holder)
        : error_(std::move(holder), borrowed), text_(message()) {}

    /// The whole text: operation, queue, field, what happened and what to do.
    std::string_view message() const noexcept { return get(qrt_error_message); }
    const char *what() const noexcept override { return text_.c_str(); }
    /// The kind: QRT_ERR_...
    qrt_status_t status() const noexcept { return qrt_error_status(error_.get()); }
    /// The kind's name, such as `lock_lost`.
    std::string_view kind() const noexcept { return detail::text(qrt_status_name(status())); }
    /// The provider's own code, or empty.
    std::string_view code() const noexcept { return get(qrt_error_code); }
    /// The queue concerned, or empty.
    std::string_view queue() const noexcept { return get(qrt_error_queue); }
    /// The operation that failed, or empty.
    std::string_view operation() const noexcept { return get(qrt_error_operation); }
    /// The argument, option or field at fault, or empty.
    std::string_view field() const noexcept { return get(qrt_error_field); }
    /// The capability that is missing, or empty.
    std::string_view capability() const noexcept { return get(qrt_error_capability); }
    /// Whether the same call may succeed later.
    bool retryable() const noexcept { return qrt_error_is_retryable(error_.get()) == 1; }
    /// When to try again at the earliest, from the failure.
    std::optional<Milliseconds> retry_after() const noexcept {
        return detail::some_ms(qrt_error_retry_after_ms(error_.get()));
    }
    /// Until when what stands in the way does.
    std::optional<Timestamp> until() const noexcept {
        const std::int64_t until = qrt_error_until(error_.get());
        return until < 0 ? std::nullopt : std::optional<Timestamp>(detail::moment(until));
    }
    /// Actual size and limit in bytes, of what is too large.
    std::optional<std::pair<std::uint64_t, std::uint64_t>> sizes() const noexcept {
        std::uint64_t actual = 0, limit = 0;
        qrt_error_sizes(error_.get(), &actual, &limit);
        return limit == 0 ? std::nullopt : std::make_optional(std::make_pair(actual, limit));
    }

private:
    std::string_view get(qrt_bytes_t (*getter)(const qrt_error_t *)) const noexcept {
        return detail::text(getter(error_.get()));
    }

    std::shared_ptr<const qrt_error_t> error_;
    std::string text_;
};

namespace detail {

[[noreturn]] inline void raise(const Error &error) {
#ifdef QUEUE_RUNTIME_NO_EXCEPTIONS
    (void)error;
    std::abort();
#else
    throw error;
#endif
}

}  // namespace detail

/// A value, or why there is none.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const noexcept { return held_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    /// The value; throws the error if there is none.
    T &value() & {
        if (!has_value()) detail::raise(error());
        return *std::get_if<0>(&held_);
    }
    T value() && {
        if (!has_value()) detail::raise(error());
        return std::move(*std::get_if<0>(&held_));
    }
    /// The value, which must be there.
    T &operator*() noexcept { return *std::get_if<0>(&held_); }
    T *operator->() noexcept { return std::get_if<0>(&held_); }
    /// The error, which must be there.
    const Error &error() const noexcept { return *std::get_if<1>(&held_); }

private:
    std::variant<T, Error> held_;
};

/// Success, or why not.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }
    /// Throws the error if there is one.
    void value() const {
        if (error_) detail::raise(*error_);
    }
    /// The error, which must be there.
    const Error &error() const noexcept { return *error_; }

private:
    std::optional<Error> error_;
};

namespace detail {

/// What a verb gives: the C type of its place, the function that takes it out of an operation, and
/// the way from there to the value. Each class of values has its own.
template <class T>
struct Output;

template <>
struct Output<void> {
    using Place = char;
    static qrt_status_t take(qrt_op_t *op, Place *, qrt_error_t **error) {
        return qrt_op_take_unit(op, error);
    }
    static Result<void> wrap(Place) { return {}; }
};

template <>
struct Output<std::uint64_t> {
    using Place = std::uint64_t;
    static constexpr auto take = qrt_op_take_count;
    static Result<std::uint64_t> wrap(Place count) { return count; }
};

inline Error error_of(qrt_error_t *error) { return Error(error); }

/// Calls a function that cannot wait and makes an object.
template <class T, class Place, class Make, class Call>
Result<T> make(Place *nothing, Make wrap, Call call) {
    Place *place = nothing;
    qrt_error_t *error = nullptr;
    if (call(&place, &error) != QRT_OK) return error_of(error);
    return Result<T>(wrap(place));
}

/// Calls a function that cannot wait.
template <class Call>
Result<void> run(Call call) {
    qrt_error_t *error = nullptr;
    if (call(&error) != QRT_OK) return error_of(error);
    return {};
}

using Op = Handle<qrt_op_t, qrt_op_free>;

}  // namespace detail

/// A verb that has begun. Destroyed before its end it goes on, and gives back what it brings.
template <class T>
class Operation {
public:
    /// Whether it has ended.
    bool has_ended() const { return !op_ || qrt_op_wait(op_.get(), 0, nullptr) == QRT_OK; }
    /// Waits for the end, at most this long: whether it has ended.
    Result<bool> wait(Milliseconds timeout) const {
        qrt_error_t *error = nullptr;
        const qrt_status_t status =
            op_ ? qrt_op_wait(op_.get(), timeout.count(), &error) : QRT_OK;
        if (status == QRT_OK) return true;
        Error failure = detail::error_of(error);
        if (status == QRT_ERR_TIMEOUT) return false;
        return failure;
    }
    /// Asks it to end: with the error `cancelled`, or with its value if that came first.
    void cancel() const noexcept {
        if (op_) qrt_op_cancel(op_.get(), nullptr);
    }
    /// Waits for the end; the value, once.
    Result<T> result() {
        if (ended_) return std::move(*ended_);
        qrt_error_t *error = nullptr;
        if (qrt_op_wait(op_.get(), -1, &error) != QRT_OK) return detail::error_of(error);
        return take(op_.get());
    }
    /// As result(); throws the error.
    T get() { return result().value(); }

private:
    template <class, class>
    friend class Verb;
    friend class Events;
    friend class Event;

    explicit Operation(Result<T> ended) : ended_(std::move(ended)) {}
    explicit Operation(qrt_op_t *op) : op_(op) {}

    static Result<T> take(qrt_op_t *op) {
        typename detail::Output<T>::Place place{};
        qrt_error_t *error = nullptr;
        if (detail::Output<T>::take(op, &place, &error) != QRT_OK) return detail::error_of(error);
        return detail::Output<T>::wrap(place);
    }

    std::optional<Result<T>> ended_;
    detail::Op op_;
};

/// Something to be done that may take time; see the top of this file.
template <class T, class Begin>
class [[nodiscard("a verb begins with get, result, then, future or start")]] Verb {
public:
    explicit Verb(Begin begin, std::optional<Error> refused = {})
        : begin_(std::move(begin)), refused_(std::move(refused)) {}

    /// Begins it, waits for it, and gives its value; throws Error.
    T get() { return result().value(); }

    /// Begins it, waits for it, and gives its Result.
    Result<T> result() { return start().result(); }

    /// Begins it.
    Operation<T> start() {
        qrt_op_t *op = nullptr;
        std::optional<Result<T>> ended = begin(detail::nobody, &op);
        return ended ? Operation<T>(std::move(*ended)) : Operation<T>(op);
    }

    /// Begins it, and calls `f(Result<T>)` at its end, exactly once.
    template <class F>
    void then(F f) {
        auto *waiting = new F(std::move(f));
        const qrt_completion_t done = {&Verb::end<F>, waiting, &Verb::forget<F>};
        if (std::optional<Result<T>> ended = begin(done, nullptr)) {
            std::unique_ptr<F> owned(waiting);
            (*owned)(std::move(*ended));
        }
    }

    /// Begins it; the future has its value or throws its Error.
    std::future<T> future() {
#ifdef QUEUE_RUNTIME_NO_EXCEPTIONS
        static_assert(sizeof(T *) == 0, "futures need exceptions");
#else
        std::promise<T> promise;
        std::future<T> future = promise.get_future();
        then([promise = std::move(promise)](Result<T> result) mutable {
            if (!result) {
                promise.set_exception(std::make_exception_ptr(result.error()));
            } else if constexpr (std::is_void_v<T>) {
                promise.set_value();
            } else {
                promise.set_value(std::move(*result));
            }
        });
        return future;
#endif
    }

private:
    template <class F>
    static void end(void *waiting, qrt_op_t *op) noexcept {
        (*static_cast<F *>(waiting))(Operation<T>::take(op));
    }
    template <class F>
    static void forget(void *waiting) noexcept {
        delete static_cast<F *>(waiting);
    }

    /// The result if it ended at once.
    std::optional<Result<T>> begin(qrt_completion_t done, qrt_op_t **op) {
        if (refused_) return Result<T>(*refused_);
        typename detail::Output<T>::Place place{};
        qrt_error_t *error = nullptr;
        switch (begin_(done, &place, op, &error)) {
            case QRT_OK: return detail::Output<T>::wrap(place);
            case QRT_PENDING: return std::nullopt;
            default: return Result<T>(detail::error_of(error));
        }
    }

    Begin begin_;
    /// What makes it impossible, before anything is asked.
    std::optional<Error> refused_;
};

namespace detail {

template <class T, class Begin>
Verb<T, Begin> verb(Begin begin, std::optional<Error> refused = {}) {
    return Verb<T, Begin>(std::move(begin), std::move(refused));
}

}  // namespace detail

/// A message that something else holds.
class MessageView {
public:
    explicit MessageView(const qrt_message_t *message) noexcept : message_(message) {}

    Bytes body() const noexcept {
        const qrt_bytes_t body = qrt_message_body(message_);
        return {body.data, body.len};
    }
    /// The body as characters.
    std::string_view text() const noexcept { return body().text(); }
    /// The ordered group, or empty.
    std::string_view session() const noexcept {
        return detail::text(qrt_message_session(message_));
    }
    std::string_view correlation_id() const noexcept {
        return detail::text(qrt_message_correlation_id(message_));
    }
    std::string_view content_type() const noexcept {
        return detail::text(qrt_message_content_type(message_));
    }
    std::string_view dedup_id() const noexcept {
        return detail::text(qrt_message_dedup_id(message_));
    }
    std::optional<Milliseconds> delay() const noexcept {
        return detail::some_ms(qrt_message_delay_ms(message_));
    }
    std::optional<Milliseconds> ttl() const noexcept {
        return detail::some_ms(qrt_message_ttl_ms(message_));
    }
    /// The value of a header, or empty.
    std::string_view header(std::string_view name) const noexcept {
        return detail::text(qrt_message_header(message_, detail::lend(name)));
    }
    std::size_t header_count() const noexcept { return qrt_message_header_count(message_); }
    /// Name and value, in the order of the names.
    std::pair<std::string_view, std::string_view> header_at(std::size_t index) const noexcept {
        qrt_bytes_t name{}, value{};
        qrt_message_header_at(message_, index, &name, &value);
        return {detail::text(name), detail::text(value)};
    }
    const qrt_message_t *raw() const noexcept { return message_; }

private:
    const qrt_message_t *message_;
};

/// A message to send: filled in, sent as often as wanted. What it refuses (a header that is not
/// UTF-8) is the error of its sending.
class Message {
public:
    /// With this body, which is copied.
    explicit Message(Bytes body) : Message() {
        set(qrt_message_set_body, detail::lend(body));
    }

    /// With this body, which is moved in and not copied: a std::string, a std::vector<uint8_t>, or
    /// whatever has data() and size().
    template <class Body>
    static Message taking(Body body) {
        Message message;
        auto *owned = new Body(std::move(body));
        const qrt_bytes_t bytes = detail::lend(Bytes(owned->data(), owned->size()));
        message.set(qrt_message_take_body, bytes,
                    [](void *taken) { delete static_cast<Body *>(taken); }, owned);
        return message;
    }

    Message &header(std::string_view name, std::string_view value) {
        return set(qrt_message_set_header, detail::lend(name), detail::lend(value));
    }
    /// An id of the sender's choice.
    Message &id(std::string_view id) { return set(qrt_message_set_id, detail::lend(id)); }
    /// The ordered group.
    Message &session(std::string_view session) {
        return set(qrt_message_set_session, detail::lend(session));
    }
    /// The session that a key finds in the headers set so far, or none: JSON such as
    /// `{"field": "customer", "prefix": "c-"}`, see `qrt_message_set_session_by`. The moment counts
    /// for a key with `per_hours`.
    Message &session_by(std::string_view key, Timestamp now = {}) {
        return set(qrt_message_set_session_by, detail::lend(key),
                   std::int64_t{now.time_since_epoch().count()});
    }
    /// What it answers or belongs to.
    Message &correlation_id(std::string_view id) {
        return set(qrt_message_set_correlation_id, detail::lend(id));
    }
    Message &content_type(std::string_view type) {
        return set(qrt_message_set_content_type, detail::lend(type));
    }
    /// Within the dedup window only the first message of this dedup id is stored.
    Message &dedup_id(std::string_view id) {
        return set(qrt_message_set_dedup_id, detail::lend(id));
    }
    /// Lets it appear only this long after its sending.
    Message &delay(Milliseconds delay) { return set(qrt_message_set_delay_ms, delay.count()); }
    /// Lets it expire this long after its sending.
    Message &ttl(Milliseconds ttl) { return set(qrt_message_set_ttl_ms, ttl.count()); }

    MessageView view() const noexcept { return MessageView(handle_.get()); }
    /// What it refused first, if anything.
    const std::optional<Error> &error() const noexcept { return error_; }

private:
    Message() {
        qrt_message_t *message = nullptr;
        qrt_error_t *error = nullptr;
        if (qrt_message_new(&message, &error) != QRT_OK) error_ = detail::error_of(error);
        handle_.reset(message);
    }

    template <class Function, class... Arguments>
    Message &set(Function function, Arguments... arguments) {
        qrt_error_t *error = nullptr;
        if (function(handle_.get(), arguments..., &error) != QRT_OK) {
            Error refused = detail::error_of(error);
            if (!error_) error_ = std::move(refused);
        }
        return *this;
    }

    detail::Handle<qrt_message_t, qrt_message_free> handle_;
    std::optional<Error> error_;
};

/// What became of a message that was sent.
struct SendResult {
    /// Of the stored message; of the first one, if it was a duplicate.
    std::string id;
    /// It was not stored, because one of the same dedup id was before it.
    bool is_duplicate;
};

/// What became of messages that were sent: result i belongs to message i.
class SendResults {
public:
    explicit SendResults(qrt_send_results_t *owned) : results_(owned, qrt_send_results_free) {}

    std::size_t size() const noexcept { return qrt_send_results_count(results_.get()); }
    /// A result; the index must be below size().
    Result<SendResult> operator[](std::size_t index) const {
        const qrt_send_results_t *results = results_.get();
        if (const qrt_error_t *error = qrt_send_results_error(results, index))
            return Error(error, results_);
        return SendResult{std::string(detail::text(qrt_send_results_id(results, index))),
                          qrt_send_results_is_duplicate(results, index) == 1};
    }

private:
    std::shared_ptr<qrt_send_results_t> results_;
};

/// What became of settlements: result i belongs to entry i.
class SettleResults {
public:
    explicit SettleResults(qrt_settle_results_t *owned)
        : results_(owned, qrt_settle_results_free) {}

    std::size_t size() const noexcept { return qrt_settle_results_count(results_.get()); }
    /// A result; the index must be below size().
    Result<void> operator[](std::size_t index) const {
        if (const qrt_error_t *error = qrt_settle_results_error(results_.get(), index))
            return Error(error, results_);
        return {};
    }

private:
    std::shared_ptr<qrt_settle_results_t> results_;
};

/// One hand-over of a message. Destroyed unsettled, it comes back when its lock ends.
class Delivery {
    template <class Call>
    auto settle(Call call) const {
        return detail::verb<void>([call, delivery = get()](qrt_completion_t done, char *,
                                                           qrt_op_t **op, qrt_error_t **error) {
            return call(delivery, std::uint32_t{0}, done, op, error);
        });
    }

public:
    MessageView message() const noexcept { return MessageView(qrt_delivery_message(get())); }
    Bytes body() const noexcept { return message().body(); }
    /// The body as characters.
    std::string_view text() const noexcept { return message().text(); }
    std::string_view id() const noexcept { return detail::text(qrt_delivery_id(get())); }
    /// Which attempt at the message this is, from 1.
    std::uint32_t attempt() const noexcept { return qrt_delivery_attempt(get()); }
    /// Its place in the order of the queue.
    std::uint64_t sequence() const noexcept { return qrt_delivery_sequence(get()); }
    Timestamp enqueued_at() const noexcept {
        return detail::moment(qrt_delivery_enqueued_at(get()));
    }
    Timestamp locked_until() const noexcept {
        return detail::moment(qrt_delivery_locked_until(get()));
    }
    bool is_settled() const noexcept { return qrt_delivery_is_settled(get()) == 1; }
    /// Whether work is to stop, and why: one of QRT_CANCEL_..., for kept locks.
    std::uint32_t cancelled() const noexcept { return qrt_delivery_cancelled(get()); }
    /// A Verb of void that ends when work is to stop; never, where no lock is kept.
    auto wait_cancelled() const {
        return detail::verb<void>([delivery = get()](auto done, auto, auto op, auto error) {
            return qrt_delivery_wait_cancelled(delivery, done, op, error);
        });
    }

    /// Done; gone for good.
    auto ack() const {
        return settle([](auto... rest) { return qrt_delivery_ack(rest...); });
    }
    /// This attempt failed: it comes back after `delay`, or as the queue's retry policy says, or is
    /// dead-lettered when its budget is spent.
    auto nack(std::string_view reason = {}, std::optional<Milliseconds> delay = {}) const {
        return settle([=](const qrt_delivery_t *delivery, auto... rest) {
            return qrt_delivery_nack(delivery, detail::lend(reason), detail::ms_or_none(delay),
                                     rest...);
        });
    }
    /// Given back unblamed, after `delay` or at once.
    auto release(std::optional<Milliseconds> delay = {}) const {
        return settle([=](const qrt_delivery_t *delivery, auto... rest) {
            return qrt_delivery_release(delivery, detail::ms_or_none(delay), rest...);
        });
    }
    /// To the dead-letter queue now.
    auto dead_letter(std::string_view reason, std::string_view description = {}) const {
        return settle([=](const qrt_delivery_t *delivery, auto... rest) {
            return qrt_delivery_dead_letter(delivery, detail::lend(reason),
                                            detail::lend(description), rest...);
        });
    }
    /// Keeps the lock for so long from now.
    auto extend(Milliseconds lock) const {
        return detail::verb<void>([delivery = get(), lock](qrt_completion_t done, char *,
                                                           qrt_op_t **op, qrt_error_t **error) {
            return qrt_delivery_extend(delivery, lock.count(), done, op, error);
        });
    }

    const qrt_delivery_t *get() const noexcept { return handle_.get(); }

private:
    friend class Batch;

    struct Free {
        void operator()(const qrt_delivery_t *delivery) const noexcept {
            qrt_delivery_free(delivery);
        }
    };

    explicit Delivery(const qrt_delivery_t *retained) : handle_(retained) {}

    std::unique_ptr<const qrt_delivery_t, Free> handle_;
};

/// Messages of one receive. Its deliveries may outlive it.
class Batch {
public:
    explicit Batch(qrt_batch_t *owned) : handle_(owned) {}

    std::size_t size() const noexcept { return qrt_batch_count(handle_.get()); }
    bool empty() const noexcept { return size() == 0; }
    /// A delivery; the index must be below size().
    Delivery operator[](std::size_t index) const {
        return Delivery(qrt_delivery_retain(qrt_batch_get(handle_.get(), index)));
    }

    class Iterator {
    public:
        Iterator(const Batch *batch, std::size_t index) : batch_(batch), index_(index) {}
        Delivery operator*() const { return (*batch_)[index_]; }
        Iterator &operator++() {
            ++index_;
            return *this;
        }
        bool operator!=(const Iterator &other) const { return index_ != other.index_; }

    private:
        const Batch *batch_;
        std::size_t index_;
    };

    Iterator begin() const { return {this, 0}; }
    Iterator end() const { return {this, size()}; }

private:
    detail::Handle<qrt_batch_t, qrt_batch_free> handle_;
};

/// A list of deliveries and how each ends, for Queue::settle.
class Settlements {
public:
    Settlements() {
        qrt_settlements_t *list = nullptr;
        qrt_settlements_new(&list, nullptr);
        handle_.reset(list);
    }
    Result<void> ack(const Delivery &delivery) {
        return add(qrt_settlements_ack, delivery);
    }
    Result<void> nack(const Delivery &delivery, std::string_view reason = {},
                      std::optional<Milliseconds> delay = {}) {
        return add(qrt_settlements_nack, delivery, detail::lend(reason),
                   detail::ms_or_none(delay));
    }
    Result<void> release(const Delivery &delivery, std::optional<Milliseconds> delay = {}) {
        return add(qrt_settlements_release, delivery, detail::ms_or_none(delay));
    }
    Result<void> dead_letter(const Delivery &delivery, std::string_view reason,
                             std::string_view description = {}) {
        return add(qrt_settlements_dead_letter, delivery, detail::lend(reason),
                   detail::lend(description));
    }
    std::size_t size() const noexcept { return qrt_settlements_count(handle_.get()); }
    void clear() noexcept { qrt_settlements_clear(handle_.get()); }
    const qrt_settlements_t *get() const noexcept { return handle_.get(); }

private:
    template <class Function, class... Arguments>
    Result<void> add(Function function, const Delivery &delivery, Arguments... arguments) {
        return detail::run([&](qrt_error_t **error) {
            return function(handle_.get(), delivery.get(), arguments..., error);
        });
    }

    detail::Handle<qrt_settlements_t, qrt_settlements_free> handle_;
};

/// A message that was looked at, not taken. Borrows from its Peeked.
struct PeekedMessage {
    MessageView message;
    std::string_view id;
    /// QRT_STATE_...
    std::uint32_t state;
    /// Its place in the order of the queue: the cursor of a listing.
    std::uint64_t sequence;
    std::uint32_t attempts;
    Timestamp enqueued_at;
};

/// Messages that were looked at, not taken.
class Peeked {
public:
    explicit Peeked(qrt_peeked_t *owned) : handle_(owned) {}

    std::size_t size() const noexcept { return qrt_peeked_count(handle_.get()); }
    /// A message; the index must be below size().
    PeekedMessage operator[](std::size_t index) const noexcept {
        const qrt_peeked_t *peeked = handle_.get();
        return {MessageView(qrt_peeked_message(peeked, index)),
                detail::text(qrt_peeked_id(peeked, index)),
                qrt_peeked_state(peeked, index),
                qrt_peeked_sequence(peeked, index),
                qrt_peeked_attempts(peeked, index),
                detail::moment(qrt_peeked_enqueued_at(peeked, index))};
    }

private:
    detail::Handle<qrt_peeked_t, qrt_peeked_free> handle_;
};

/// A message that was given up. Borrows from its DeadLetters.
struct DeadLetter {
    MessageView message;
    std::string_view id;
    /// Why, in a word, and at length or empty.
    std::string_view reason, description;
    /// The queue it was sent to.
    std::string_view source;
    std::uint32_t attempts;
    /// The cursor of a listing.
    std::uint64_t number;
    Timestamp enqueued_at;
    std::optional<Timestamp> first_delivered_at;
    Timestamp dead_lettered_at;
};

/// Dead letters of a listing, oldest first.
class DeadLetters {
public:
    explicit DeadLetters(qrt_dead_letters_t *owned) : handle_(owned) {}

    std::size_t size() const noexcept { return qrt_dead_letters_count(handle_.get()); }
    /// A dead letter; the index must be below size().
    DeadLetter operator[](std::size_t index) const noexcept {
        const qrt_dead_letters_t *letters = handle_.get();
        const std::int64_t first = qrt_dead_letters_first_delivered_at(letters, index);
        return {MessageView(qrt_dead_letters_message(letters, index)),
                detail::text(qrt_dead_letters_id(letters, index)),
                detail::text(qrt_dead_letters_reason(letters, index)),
                detail::text(qrt_dead_letters_description(letters, index)),
                detail::text(qrt_dead_letters_source(letters, index)),
                qrt_dead_letters_attempts(letters, index),
                qrt_dead_letters_number(letters, index),
                detail::moment(qrt_dead_letters_enqueued_at(letters, index)),
                first < 0 ? std::nullopt : std::make_optional(detail::moment(first)),
                detail::moment(qrt_dead_letters_dead_lettered_at(letters, index))};
    }

private:
    detail::Handle<qrt_dead_letters_t, qrt_dead_letters_free> handle_;
};

/// Which dead letters are meant; every field that is set must match.
struct DeadLetterFilter {
    std::vector<std::string> ids;
    std::string reason, session, header_name, header_value;
    /// Given up at this moment or later; before this one.
    std::optional<Timestamp> since, until;
};

/// Dead letters of one reason, or of one queue. Borrows from its DeadLetterStatistics.
struct DeadLetterGroup {
    std::string_view name;
    std::uint64_t count;
    /// When the first and the last of them was given up.
    Timestamp oldest, newest;
};

/// Dead letters that were given up about as long ago.
struct DeadLetterAge {
    /// As long ago at most, and longer than the group before; none: longer than all of them.
    std::optional<Milliseconds> up_to;
    std::uint64_t count;
};

/// How many dead letters there are, why, since when, and from which queue.
class DeadLetterStatistics {
public:
    explicit DeadLetterStatistics(qrt_dead_letter_statistics_t *owned) : handle_(owned) {}

    std::uint64_t count() const noexcept { return qrt_dead_letter_statistics_count(handle_.get()); }
    /// Of their bodies.
    std::uint64_t bytes() const noexcept { return qrt_dead_letter_statistics_bytes(handle_.get()); }
    /// When the first of them was given up; none when there are none.
    std::optional<Timestamp> oldest() const noexcept {
        return some_moment(qrt_dead_letter_statistics_oldest(handle_.get()));
    }
    /// When the last of them was given up; none when there are none.
    std::optional<Timestamp> newest() const noexcept {
        return some_moment(qrt_dead_letter_statistics_newest(handle_.get()));
    }
    /// By their reason, the most frequent first, then by name. The first 1,000 reasons met, of 1 MiB
    /// together, have a group each; all others are in one named `(others)`.
    std::vector<DeadLetterGroup> by_reason() const { return groups(QRT_BY_REASON); }
    /// By the queue they were sent to, as by_reason(). The providers there are list the dead letters
    /// of one queue, which is then the only group.
    std::vector<DeadLetterGroup> by_source() const { return groups(QRT_BY_SOURCE); }
    /// By the time since they were given up: up to a minute, an hour, a day, a week, and longer.
    std::vector<DeadLetterAge> by_age() const {
        const qrt_dead_letter_statistics_t *of = handle_.get();
        std::vector<DeadLetterAge> all;
        for (std::size_t i = 0; i < qrt_dead_letter_statistics_ages(of); i++)
            all.push_back({detail::some_ms(qrt_dead_letter_statistics_age_up_to_ms(of, i)),
                           qrt_dead_letter_statistics_age_count(of, i)});
        return all;
    }

private:
    static std::optional<Timestamp> some_moment(std::int64_t ms) noexcept {
        return ms < 0 ? std::nullopt : std::make_optional(detail::moment(ms));
    }
    std::vector<DeadLetterGroup> groups(std::uint32_t by) const {
        const qrt_dead_letter_statistics_t *of = handle_.get();
        std::vector<DeadLetterGroup> all;
        for (std::size_t i = 0; i < qrt_dead_letter_statistics_groups(of, by); i++)
            all.push_back({detail::text(qrt_dead_letter_statistics_group_name(of, by, i)),
                           qrt_dead_letter_statistics_group_count(of, by, i),
                           detail::moment(qrt_dead_letter_statistics_group_oldest(of, by, i)),
                           detail::moment(qrt_dead_letter_statistics_group_newest(of, by, i))});
        return all;
    }

    detail::Handle<qrt_dead_letter_statistics_t, qrt_dead_letter_statistics_free> handle_;
};

/// How dead letters are sent back; 0 is no bound.
struct RedriveOptions {
    std::uint64_t max = 0;
    /// Go on after this number: `last` of an earlier report.
    std::uint64_t after = 0;
    std::uint32_t per_second = 0;
    bool dry_run = false;
};

/// What a redrive did.
class RedriveReport {
public:
    explicit RedriveReport(qrt_redrive_report_t *owned) : handle_(owned) {}

    std::uint64_t matched() const noexcept { return qrt_redrive_report_matched(handle_.get()); }
    std::uint64_t redriven() const noexcept { return qrt_redrive_report_redriven(handle_.get()); }
    /// Where to go on; 0 when none was looked at.
    std::uint64_t last() const noexcept { return qrt_redrive_report_last(handle_.get()); }
    std::size_t failed() const noexcept {
        return qrt_redrive_report_failed_count(handle_.get());
    }
    /// Id and reason of one that could not be sent back.
    std::pair<std::string_view, std::string_view> failed_at(std::size_t index) const noexcept {
        return {detail::text(qrt_redrive_report_failed_id(handle_.get(), index)),
                detail::text(qrt_redrive_report_failed_reason(handle_.get(), index))};
    }

private:
    detail::Handle<qrt_redrive_report_t, qrt_redrive_report_free> handle_;
};

/// What became of the deliveries a consumer had when its drain began.
class DrainReport {
public:
    explicit DrainReport(qrt_drain_report_t *owned) : handle_(owned) {}

    /// In hand, and settled in time.
    std::uint64_t finished() const noexcept { return qrt_drain_report_finished(handle_.get()); }
    /// Given back with their attempts restored.
    std::uint64_t released() const noexcept { return qrt_drain_report_released(handle_.get()); }
    /// Neither: they come back when their locks end.
    std::uint64_t abandoned() const noexcept { return qrt_drain_report_abandoned(handle_.get()); }

private:
    detail::Handle<qrt_drain_report_t, qrt_drain_report_free> handle_;
};

/// What became of everything that a producer accepted.
class ProducerReport {
public:
    explicit ProducerReport(qrt_producer_report_t *owned) : handle_(owned) {}

    /// Stored.
    std::uint64_t sent() const noexcept { return qrt_producer_report_sent(handle_.get()); }
    /// Answered with an error.
    std::uint64_t failed() const noexcept { return qrt_producer_report_failed(handle_.get()); }
    /// Not answered by the deadline, in their order. They borrow from this. The batch that was on
    /// its way then may have been stored all the same.
    std::vector<MessageView> unsent() const {
        std::vector<MessageView> all;
        const std::size_t count = qrt_producer_report_unsent_count(handle_.get());
        for (std::size_t i = 0; i < count; i++)
            all.push_back(MessageView(qrt_producer_report_unsent(handle_.get(), i)));
        return all;
    }

private:
    detail::Handle<qrt_producer_report_t, qrt_producer_report_free> handle_;
};

/// Counts and ages of a queue at one moment.
struct Statistics {
    std::uint64_t ready, in_flight, delayed, depth, dead, bytes, sessions;
    std::optional<Milliseconds> oldest_age;
};

namespace detail {

template <class T, class C, qrt_status_t (*function)(qrt_op_t *, C **, qrt_error_t **)>
struct HandleOutput {
    using Place = C *;
    static constexpr auto take = function;
    static Result<T> wrap(Place place) { return T(place); }
};

template <>
struct Output<SendResults>
    : HandleOutput<SendResults, qrt_send_results_t, qrt_op_take_send_results> {};
template <>
struct Output<SettleResults>
    : HandleOutput<SettleResults, qrt_settle_results_t, qrt_op_take_settle_results> {};
template <>
struct Output<Batch> : HandleOutput<Batch, qrt_batch_t, qrt_op_take_batch> {};
template <>
struct Output<Peeked> : HandleOutput<Peeked, qrt_peeked_t, qrt_op_take_peeked> {};
template <>
struct Output<DeadLetters>
    : HandleOutput<DeadLetters, qrt_dead_letters_t, qrt_op_take_dead_letters> {};
template <>
struct Output<DeadLetterStatistics>
    : HandleOutput<DeadLetterStatistics, qrt_dead_letter_statistics_t,
                   qrt_op_take_dead_letter_statistics> {};
template <>
struct Output<RedriveReport>
    : HandleOutput<RedriveReport, qrt_redrive_report_t, qrt_op_take_redrive_report> {};
template <>
struct Output<DrainReport>
    : HandleOutput<DrainReport, qrt_drain_report_t, qrt_op_take_drain_report> {};
template <>
struct Output<ProducerReport>
    : HandleOutput<ProducerReport, qrt_producer_report_t, qrt_op_take_producer_report> {};

template <>
struct Output<SendResult> {
    using Place = qrt_send_results_t *;
    static constexpr auto take = qrt_op_take_send_results;
    static Result<SendResult> wrap(Place place) { return SendResults(place)[0]; }
};

template <>
struct Output<std::optional<Delivery>> {
    using Place = qrt_batch_t *;
    static constexpr auto take = qrt_op_take_batch;
    static Result<std::optional<Delivery>> wrap(Place place) {
        const Batch batch(place);
        if (batch.empty()) return std::optional<Delivery>();
        return std::optional<Delivery>(batch[0]);
    }
};

template <>
struct Output<std::optional<std::string>> {
    using Place = qrt_buffer_t *;
    static constexpr auto take = qrt_op_take_buffer;
    static Result<std::optional<std::string>> wrap(Place place) {
        const Handle<qrt_buffer_t, qrt_buffer_free> owned(place);
        if (!owned) return std::optional<std::string>();
        return std::make_optional<std::string>(text(qrt_buffer_bytes(place)));
    }
};

template <>
struct Output<Statistics> {
    using Place = qrt_statistics_t *;
    static constexpr auto take = qrt_op_take_statistics;
    static Result<Statistics> wrap(Place place) {
        const Handle<qrt_statistics_t, qrt_statistics_free> owned(place);
        return Statistics{qrt_statistics_ready(place), qrt_statistics_in_flight(place),
                          qrt_statistics_delayed(place), qrt_statistics_depth(place),
                          qrt_statistics_dead(place), qrt_statistics_bytes(place),
                          qrt_statistics_sessions(place),
                          some_ms(qrt_statistics_oldest_age_ms(place))};
    }
};

}  // namespace detail

/// What to receive.
struct ReceiveOptions {
    std::uint32_t max_messages = 1;
    /// How long to wait for the first message; zero looks once.
    Milliseconds wait{10'000};
    /// How long the messages are locked; as long as the queue says, if not said.
    std::optional<Milliseconds> lock;
    /// Keeps the locks until each delivery is settled or destroyed, for up to 10 minutes.
    bool keep_lock = false;

    qrt_receive_options_t lend() const noexcept {
        const std::uint32_t flags = keep_lock ? QRT_KEEP_LOCK : 0;
        return {sizeof(qrt_receive_options_t), max_messages, flags, wait.count(),
                detail::ms_or_none(lock)};
    }
};

class Consumer;
struct ConsumerOptions;

/// A held session: its messages come in order, to this holder alone. Let go by close(), by its
/// destruction, or when its lock ends.
class Session {
public:
    explicit Session(qrt_session_t *owned) : handle_(owned) {}

    std::string_view id() const noexcept { return detail::text(qrt_session_id(handle_.get())); }
    Timestamp locked_until() const noexcept {
        return detail::moment(qrt_session_locked_until(handle_.get()));
    }
    /// A Verb of Batch: its messages, in order.
    auto receive(ReceiveOptions options = {}) const {
        return detail::verb<Batch>([session = handle_.get(), raw = options.lend()](
                                       auto done, auto place, auto op, auto error) {
            return qrt_session_receive(session, &raw, done, place, op, error);
        });
    }
    /// Keeps it for so long from now, or for its lock time.
    auto renew(std::optional<Milliseconds> lock = {}) const {
        return detail::verb<void>([session = handle_.get(), lock](auto done, auto, auto op,
                                                                  auto error) {
            return qrt_session_renew(session, detail::ms_or_none(lock), done, op, error);
        });
    }
    /// A Verb of std::optional<std::string>: the bytes kept with it, across holders.
    auto state() const {
        return detail::verb<std::optional<std::string>>(
            [session = handle_.get()](auto done, auto place, auto op, auto error) {
                return qrt_session_state(session, done, place, op, error);
            });
    }
    /// Keeps these bytes with it; std::nullopt removes them.
    auto set_state(std::optional<Bytes> state) const {
        return detail::verb<void>([session = handle_.get(), state](auto done, auto, auto op,
                                                                   auto error) {
            const qrt_bytes_t bytes = detail::lend(state.value_or(Bytes()));
            return qrt_session_set_state(session, state ? &bytes : nullptr, done, op, error);
        });
    }
    /// Receives from it alone as a range, until stopped, its lock kept. When that is lost, or the
    /// session closed, the consumer ends with QRT_ERR_SESSION_LOCK_LOST. The session may be
    /// destroyed before it.
    Result<Consumer> consume(const ConsumerOptions &options) const;
    Result<Consumer> consume() const;
    /// Lets it go.
    auto close() const {
        return detail::verb<void>(
            [session = handle_.get()](auto done, auto, auto op, auto error) {
                return qrt_session_close(session, done, op, error);
            });
    }

private:
    detail::Handle<qrt_session_t, qrt_session_free> handle_;
};

namespace detail {

template <>
struct Output<Session> {
    using Place = qrt_session_t *;
    static constexpr auto take = qrt_op_take_session;
    static Result<Session> wrap(Place place) { return Session(place); }
};

template <>
struct Output<std::optional<Session>> {
    using Place = qrt_session_t *;
    static constexpr auto take = qrt_op_take_session;
    static Result<std::optional<Session>> wrap(Place place) {
        if (place == nullptr) return std::optional<Session>();
        return std::optional<Session>(Session(place));
    }
};

}  // namespace detail

/// How a consumer receives.
struct ConsumerOptions {
    /// At most this many messages in one receive, and in one batch.
    std::uint32_t max_messages = 64;
    /// Deliveries in hand, at most. A range has a hand free again when one is settled or destroyed;
    /// a subscription when Subscription::grant gives more.
    std::uint32_t credits = 64;
    Milliseconds wait{10'000};
    /// For how long messages are locked, and locked again; as the queue says without it.
    std::optional<Milliseconds> lock;
    /// For how long after its receive a lock is kept.
    Milliseconds max_lock_renewal = std::chrono::minutes(10);
    /// Messages received ahead of the credits, their attempts not charged yet. UINT32_MAX: as many
    /// as may be in hand.
    std::uint32_t prefetch = 64;
    std::uint64_t prefetch_bytes = 64 * 1024 * 1024;
    /// How long to stay away after failed receives in a row, such as
    /// `exponential:100ms,2,30s,jitter`, which it is when this is empty.
    std::string reconnect;
    /// A range ends when nothing could be given out for so long; with zero, when nothing is there.
    /// Not for subscriptions.
    std::optional<Milliseconds> idle;
    /// When to leave messages alone since their handlers fail: failures in a row, pause, successes in
    /// a row, such as `5,30s,3`; never when it is empty. A failure is a delivery that is nacked, or
    /// released with a delay; until the breaker is closed again no attempt is used.
    std::string breaker;
    /// Works through held sessions, at most so many at a time; 0: sessions are held by their
    /// deliveries in hand. Not with `idle`.
    std::uint32_t max_sessions = 0;
    /// For how long a session that has nothing is held while no other one waits.
    Milliseconds session_idle = std::chrono::minutes(1);
    /// After so many messages a session makes room for another one; 0: never.
    std::uint32_t session_max_messages = 0;
    /// After how long a session makes room for another one.
    std::optional<Milliseconds> session_max_time;
    /// Of one group at most so many deliveries are in hand; 0: any number. For queues with fair groups.
    std::uint32_t max_in_flight_per_group = 0;
    /// Messages of a batch, at most, where batches wait for more; 0: they do not, and none of the
    /// following counts. A batch is given out when it has so many, or batch_bytes, or when its first
    /// message has waited for batch_linger.
    std::uint32_t batch_size = 0;
    std::uint64_t batch_bytes = 4 * 1024 * 1024;
    Milliseconds batch_linger{5};
    /// How long a batch is to take until its last message is settled: sizes from min_batch_size to
    /// batch_size adapt to that.
    std::optional<Milliseconds> target_batch_duration;
    std::uint32_t min_batch_size = 1;
    /// Scales: begins with so many deliveries in hand, and moves between this number and `credits`: up
    /// while work waits, back when that made handlers slower and got no more done, down when hands lay
    /// idle. 0: it does not. Not for subscriptions.
    std::uint32_t min_concurrency = 0;
    /// How long each limit of a consumer that scales stays.
    Milliseconds scale_cooldown = std::chrono::seconds(5);

    qrt_consumer_options_t lend() const noexcept {
        qrt_consumer_options_t raw = QRT_CONSUMER_OPTIONS_INIT;
        raw.max_messages = max_messages;
        raw.credits = credits;
        raw.wait_ms = wait.count();
        raw.lock_ms = detail::ms_or_none(lock);
        raw.max_lock_renewal_ms = max_lock_renewal.count();
        raw.prefetch = prefetch;
        raw.prefetch_bytes = prefetch_bytes;
        raw.reconnect = detail::lend(reconnect);
        raw.idle_ms = detail::ms_or_none(idle);
        raw.breaker = detail::lend(breaker);
        raw.max_sessions = max_sessions;
        raw.session_idle_ms = session_idle.count();
        raw.session_max_messages = session_max_messages;
        raw.session_max_time_ms = detail::ms_or_none(session_max_time);
        raw.max_in_flight_per_group = max_in_flight_per_group;
        raw.batch_size = batch_size;
        raw.min_batch_size = min_batch_size;
        raw.batch_bytes = batch_bytes;
        raw.batch_linger_ms = batch_linger.count();
        raw.target_batch_duration_ms = detail::ms_or_none(target_batch_duration);
        raw.min_concurrency = min_concurrency;
        raw.scale_cooldown_ms = scale_cooldown.count();
        return raw;
    }
};

/// When a producer sends, and how much it holds until then.
struct ProducerOptions {
    /// Messages and bytes of a batch, at most; as many are sent at once.
    std::uint32_t batch_size = 100;
    std::uint64_t batch_bytes = 4 * 1024 * 1024;
    /// How long a message waits for others at most.
    Milliseconds linger{5};
    /// Messages and bytes accepted and not yet sent, at most.
    std::uint64_t max_pending = 10'000;
    std::uint64_t max_pending_bytes = 64 * 1024 * 1024;
};

/// Sends in batches what it is given one by one, in order; made by Queue::producer. Destroyed, it
/// still sends what was accepted, in the background. Any thread.
class Producer {
    auto send(const Message &message, std::uint32_t flags) const {
        return detail::verb<SendResult>(
            [handle = handle_.get(), one = message.view().raw(), flags](auto done, auto place,
                                                                        auto op, auto error) {
                return qrt_producer_send(handle, one, flags, done, place, op, error);
            },
            message.error());
    }

public:
    explicit Producer(qrt_producer_t *owned) : handle_(owned) {}

    /// A Verb of SendResult, which ends when the message's batch was sent; waits for room.
    auto send(const Message &message) const { return send(message, 0); }
    /// As send(), with the error `full` instead of waiting for room.
    auto try_send(const Message &message) const { return send(message, QRT_NO_WAIT); }
    /// A Verb of void: sends what was accepted before, and ends when all of it has its result.
    auto flush() const {
        return detail::verb<void>([handle = handle_.get()](auto done, auto, auto op, auto error) {
            return qrt_producer_flush(handle, done, op, error);
        });
    }
    /// A Verb of ProducerReport: accepts nothing more and sends what was accepted; at the deadline
    /// what is left is in the report.
    auto close(Milliseconds deadline) const {
        return detail::verb<ProducerReport>([handle = handle_.get(), deadline](
                                                auto done, auto place, auto op, auto error) {
            return qrt_producer_close(handle, deadline.count(), done, place, op, error);
        });
    }

private:
    detail::Handle<qrt_producer_t, qrt_producer_free> handle_;
};

namespace detail {

/// What a consumer and a subscription do at once.
template <class Self>
class Held {
public:
    /// Receives nothing and gives nothing out until resume(); what was received and not given out
    /// goes back unblamed. What is in hand goes on, its locks kept.
    Result<void> pause() const { return tell(qrt_consumer_pause); }
    /// Ends a pause.
    Result<void> resume() const { return tell(qrt_consumer_resume); }
    /// Closes the breaker by hand, and forgets what failed.
    Result<void> reset_breaker() const { return tell(qrt_consumer_reset_breaker); }
    /// How it goes, as the JSON of `qrt_consumer_status`.
    Result<std::string> status() const {
        return make<std::string>(
            static_cast<qrt_buffer_t *>(nullptr),
            [](qrt_buffer_t *made) {
                const Handle<qrt_buffer_t, qrt_buffer_free> owned(made);
                return std::string(text(qrt_buffer_bytes(made)));
            },
            [&](auto place, auto error) { return qrt_consumer_status(raw(), place, error); });
    }

private:
    qrt_consumer_t *raw() const noexcept {
        return static_cast<const Self *>(this)->handle_.get();
    }
    Result<void> tell(qrt_status_t (*what)(qrt_consumer_t *, qrt_error_t **)) const {
        return run([&](qrt_error_t **error) { return what(raw(), error); });
    }
};

}  // namespace detail

/// Receives until it is stopped, with locks kept: a range of deliveries. Leaving it early gives
/// back, unblamed, what was received and not yet given out. Any thread.
class Consumer : public detail::Held<Consumer> {
public:
    /// A Verb of std::optional<Delivery>: as soon as there is one and a hand is free; none once the
    /// consumer has stopped, its client was closed, or ConsumerOptions::idle is over.
    auto next() const {
        return detail::verb<std::optional<Delivery>>(
            [consumer = handle_.get()](auto done, auto place, auto op, auto error) {
                return qrt_consumer_next(consumer, 1, done, place, op, error);
            });
    }

    class Iterator {
    public:
        explicit Iterator(Consumer *consumer) : consumer_(consumer) { ++*this; }
        Delivery operator*() { return std::move(*next_); }
        Iterator &operator++() {
            if (consumer_ != nullptr) next_ = consumer_->next().get();
            if (!next_) consumer_ = nullptr;
            return *this;
        }
        bool operator!=(const Iterator &other) const { return consumer_ != other.consumer_; }

    private:
        Consumer *consumer_;
        std::optional<Delivery> next_;
    };

    Iterator begin() { return Iterator(this); }
    Iterator end() { return Iterator(nullptr); }

    /// A Verb of Batch: as next, with what else is there, up to `max`; empty at the end.
    auto next_batch(std::uint32_t max) const {
        return detail::verb<Batch>(
            [consumer = handle_.get(), max](auto done, auto place, auto op, auto error) {
                return qrt_consumer_next(consumer, max, done, place, op, error);
            });
    }
    /// A Verb of void: ends when work on a delivery in hand is to stop (Delivery::cancelled),
    /// receiving fails or goes on, or what holds it back has changed, since the last one ended; QRT_ERR_CLOSED once the consumer has
    /// stopped. One at a time.
    auto wait_changed() const {
        return detail::verb<void>(
            [consumer = handle_.get()](auto done, auto, auto op, auto error) {
                return qrt_consumer_wait_changed(consumer, done, op, error);
            });
    }
    /// A Verb of void: no more is given out, what was not goes back.
    auto stop() const {
        return detail::verb<void>(
            [consumer = handle_.get()](auto done, auto, auto op, auto error) {
                return qrt_consumer_stop(consumer, done, op, error);
            });
    }
    /// A Verb of DrainReport: stops, waits for what is in hand until the deadline, cancels that and
    /// gives it back.
    auto drain(Milliseconds deadline) const {
        return detail::verb<DrainReport>(
            [consumer = handle_.get(), deadline](auto done, auto place, auto op, auto error) {
                return qrt_consumer_drain(consumer, deadline.count(), done, place, op, error);
            });
    }

private:
    friend class Queue;
    friend class detail::Held<Consumer>;
    friend class Session;
    explicit Consumer(qrt_consumer_t *owned) : handle_(owned) {}
    detail::Handle<qrt_consumer_t, qrt_consumer_free> handle_;
};

inline Result<Consumer> Session::consume(const ConsumerOptions &options) const {
    const qrt_consumer_options_t raw = options.lend();
    qrt_consumer_t *consumer = nullptr;
    qrt_error_t *error = nullptr;
    if (qrt_session_consume(handle_.get(), &raw, &consumer, &error) != QRT_OK)
        return detail::error_of(error);
    return Consumer(consumer);
}
inline Result<Consumer> Session::consume() const { return consume(ConsumerOptions()); }

/// Receives into a callback until it is stopped or destroyed.
class Subscription : public detail::Held<Subscription> {
public:
    /// Lets it hand over this many messages more.
    Result<void> grant(std::uint32_t messages) const {
        return detail::run([&](qrt_error_t **error) {
            return qrt_consumer_grant(handle_.get(), messages, error);
        });
    }
    /// No new batch; ends when the last callback has returned.
    auto stop() const {
        return detail::verb<void>(
            [consumer = handle_.get()](auto done, auto, auto op, auto error) {
                return qrt_consumer_stop(consumer, done, op, error);
            });
    }

private:
    friend class Queue;
    friend class detail::Held<Subscription>;
    explicit Subscription(qrt_consumer_t *owned) : handle_(owned) {}
    detail::Handle<qrt_consumer_t, qrt_consumer_free> handle_;
};

/// A queue of a client.
class Queue {
public:
    explicit Queue(qrt_queue_t *owned) : handle_(owned) {}

    /// A Verb of SendResult.
    auto send(const Message &message) const {
        return detail::verb<SendResult>(
            [queue = handle_.get(), one = message.view().raw()](auto done, auto place, auto op,
                                                                auto error) {
                return qrt_queue_send(queue, &one, 1, 0, done, place, op, error);
            },
            message.error());
    }
    /// A Verb of SendResults: result i belongs to message i.
    auto send_many(const std::vector<Message> &messages) const {
        std::vector<const qrt_message_t *> raw;
        std::optional<Error> refused;
        for (const Message &message : messages) {
            raw.push_back(message.view().raw());
            if (!refused) refused = message.error();
        }
        return detail::verb<SendResults>(
            [queue = handle_.get(), raw = std::move(raw)](auto done, auto place, auto op,
                                                          auto error) {
                return qrt_queue_send(queue, raw.data(), raw.size(), 0, done, place, op, error);
            },
            std::move(refused));
    }
    /// Sends in batches what it is given one by one.
    Result<Producer> producer(ProducerOptions options = {}) const {
        qrt_producer_options_t raw = QRT_PRODUCER_OPTIONS_INIT;
        raw.batch_size = options.batch_size;
        raw.batch_bytes = options.batch_bytes;
        raw.linger_ms = options.linger.count();
        raw.max_pending = options.max_pending;
        raw.max_pending_bytes = options.max_pending_bytes;
        qrt_producer_t *producer = nullptr;
        qrt_error_t *error = nullptr;
        if (qrt_producer_start(handle_.get(), &raw, &producer, &error) != QRT_OK)
            return detail::error_of(error);
        return Producer(producer);
    }
    /// A Verb of Batch: as soon as one message is there, with what else is ready.
    auto receive(ReceiveOptions options = {}) const {
        return detail::verb<Batch>([queue = handle_.get(), raw = options.lend()](
                                       auto done, auto place, auto op, auto error) {
            return qrt_queue_receive(queue, &raw, done, place, op, error);
        });
    }
    /// A Verb of std::optional<Delivery>.
    auto receive_one(Milliseconds wait = Milliseconds(10'000)) const {
        ReceiveOptions options;
        options.wait = wait;
        return detail::verb<std::optional<Delivery>>(
            [queue = handle_.get(), raw = options.lend()](auto done, auto place, auto op,
                                                          auto error) {
                return qrt_queue_receive(queue, &raw, done, place, op, error);
            });
    }
    /// A Verb of SettleResults: result i belongs to entry i.
    auto settle(const Settlements &settlements) const {
        return detail::verb<SettleResults>([queue = handle_.get(), list = settlements.get()](
                                               auto done, auto place, auto op, auto error) {
            return qrt_settle(queue, list, 0, done, place, op, error);
        });
    }
    /// A Verb of SettleResults: keeps the locks for so long from now.
    auto extend(const std::vector<Delivery> &deliveries, Milliseconds lock) const {
        return detail::verb<SettleResults>([queue = handle_.get(), &deliveries, lock](
                                               auto done, auto place, auto op, auto error) {
            std::vector<const qrt_delivery_t *> raw;
            for (const Delivery &delivery : deliveries) raw.push_back(delivery.get());
            return qrt_extend(queue, raw.data(), raw.size(), lock.count(), done, place, op, error);
        });
    }
    /// A Verb of Session: that of this id.
    auto accept_session(std::string_view id, std::optional<Milliseconds> lock = {}) const {
        return detail::verb<Session>([queue = handle_.get(), id, lock](auto done, auto place,
                                                                       auto op, auto error) {
            const qrt_session_options_t options = {sizeof options, 0, detail::ms_or_none(lock)};
            return qrt_session_accept(queue, detail::lend(id), &options, done, place, op, error);
        });
    }
    /// A Verb of std::optional<Session>: whichever has work, within the wait.
    auto accept_next_session(Milliseconds wait = Milliseconds(10'000),
                             std::optional<Milliseconds> lock = {}) const {
        return detail::verb<std::optional<Session>>(
            [queue = handle_.get(), wait, lock](auto done, auto place, auto op, auto error) {
                const qrt_session_options_t options = {sizeof options, wait.count(),
                                                       detail::ms_or_none(lock)};
                return qrt_session_accept_next(queue, &options, done, place, op, error);
            });
    }
    /// Receives as a range, until stopped: `for (auto &&delivery : consumer)`.
    Result<Consumer> consume(ConsumerOptions options = {}) const {
        const qrt_consumer_options_t raw = options.lend();
        qrt_consumer_t *consumer = nullptr;
        qrt_error_t *error = nullptr;
        if (qrt_consumer_start(handle_.get(), &raw, &consumer, &error) != QRT_OK)
            return detail::error_of(error);
        return Consumer(consumer);
    }
    /// Receives into `f(Batch)`, called one at a time on threads of the runtime. Each message uses
    /// up a credit; Subscription::grant gives more.
    template <class F>
    Result<Subscription> subscribe(F f, ConsumerOptions options = {}) const {
        auto held = std::make_unique<F>(std::move(f));
        qrt_consumer_options_t raw = options.lend();
        raw.on_batch = [](void *user_data, qrt_batch_t *batch) noexcept {
            (*static_cast<F *>(user_data))(Batch(batch));
        };
        raw.user_data = held.get();
        raw.free = [](void *user_data) noexcept { delete static_cast<F *>(user_data); };
        qrt_consumer_t *consumer = nullptr;
        qrt_error_t *error = nullptr;
        if (qrt_consumer_start(handle_.get(), &raw, &consumer, &error) != QRT_OK)
            return detail::error_of(error);
        static_cast<void>(held.release());
        return Subscription(consumer);
    }
    /// A Verb of Peeked: in the order of their sending, from after this sequence number on.
    auto peek(std::uint32_t max, std::uint64_t after = 0) const {
        return detail::verb<Peeked>([queue = handle_.get(), max, after](
                                        auto done, auto place, auto op, auto error) {
            return qrt_queue_peek(queue, after, max, done, place, op, error);
        });
    }
    /// A Verb of Statistics.
    auto statistics() const {
        return detail::verb<Statistics>(
            [queue = handle_.get()](auto done, auto place, auto op, auto error) {
                return qrt_queue_statistics(queue, done, place, op, error);
            });
    }
    /// A Verb of std::optional<std::string>, which has a value: when messages are tried again after
    /// they failed, as text for people, or with `flags` 0 as the JSON of `qrt_queue_explain`; with the
    /// id of a message, where that stands and when the next attempt at it comes.
    auto explain(std::string_view id = {}, std::uint32_t flags = QRT_AS_TEXT) const {
        return detail::verb<std::optional<std::string>>(
            [queue = handle_.get(), id = std::string(id), flags](auto done, auto place, auto op,
                                                                 auto error) {
                return qrt_queue_explain(queue, detail::lend(id), flags, done, place, op, error);
            });
    }
    /// Creates the queue by explicit call.
    auto create() const {
        return detail::verb<void>([queue = handle_.get()](auto done, auto, auto op, auto error) {
            return qrt_queue_create(queue, done, op, error);
        });
    }
    /// A Verb of DeadLetters: oldest first, from after this number on.
    auto dead_letters(std::uint32_t max, DeadLetterFilter filter = {},
                      std::uint64_t after = 0) const {
        return detail::verb<DeadLetters>(
            [queue = handle_.get(), max, filter = std::move(filter), after](
                auto done, auto place, auto op, auto error) {
                const Filter raw(filter);
                return qrt_dead_letters_list(queue, &raw.filter, after, max, done, place, op,
                                             error);
            });
    }
    /// A Verb of DeadLetterStatistics: counts dead letters by their reason, their source and their
    /// age. They are listed for it, 1,000 at a time and with their bodies, so its cost grows with them;
    /// it takes nothing. Those that die while it goes on may be left out.
    auto dead_letter_statistics(DeadLetterFilter filter = {}) const {
        return detail::verb<DeadLetterStatistics>(
            [queue = handle_.get(), filter = std::move(filter)](auto done, auto place, auto op,
                                                                auto error) {
                const Filter raw(filter);
                return qrt_queue_dead_letter_statistics(queue, &raw.filter, done, place, op, error);
            });
    }
    /// A Verb of RedriveReport: sends dead letters back, oldest first.
    auto redrive(DeadLetterFilter filter = {}, RedriveOptions options = {}) const {
        return detail::verb<RedriveReport>(
            [queue = handle_.get(), filter = std::move(filter), options](
                auto done, auto place, auto op, auto error) {
                const Filter raw(filter);
                const qrt_redrive_options_t how = {sizeof how, options.max, options.after,
                                                   options.per_second,
                                                   options.dry_run ? 1u : 0u};
                return qrt_dead_letters_redrive(queue, &raw.filter, &how, done, place, op, error);
            });
    }
    /// A Verb of std::uint64_t: deletes dead letters for good, and says how many.
    auto purge_dead_letters(DeadLetterFilter filter = {}) const {
        return detail::verb<std::uint64_t>([queue = handle_.get(), filter = std::move(filter)](
                                               auto done, auto place, auto op, auto error) {
            const Filter raw(filter);
            return qrt_dead_letters_purge(queue, &raw.filter, done, place, op, error);
        });
    }
    /// Where the breaker of its sends stands, one of QRT_BREAKER_....
    std::uint32_t breaker_state() const noexcept { return qrt_queue_breaker_state(handle_.get()); }
    /// Closes the breaker of its sends by hand, and forgets what failed.
    Result<void> reset_breaker() const {
        return detail::run(
            [&](qrt_error_t **error) { return qrt_queue_reset_breaker(handle_.get(), error); });
    }
    qrt_queue_t *get() const noexcept { return handle_.get(); }

private:
    /// A filter as the ABI takes it, for the length of a call.
    struct Filter {
        explicit Filter(const DeadLetterFilter &from) {
            for (const std::string &id : from.ids) ids.push_back(detail::lend(id));
            filter.ids = ids.data();
            filter.ids_count = ids.size();
            filter.reason = detail::lend(from.reason);
            filter.session = detail::lend(from.session);
            filter.header_name = detail::lend(from.header_name);
            filter.header_value = detail::lend(from.header_value);
            if (from.since) filter.since = from.since->time_since_epoch().count();
            if (from.until) filter.until = from.until->time_since_epoch().count();
        }
        Filter(const Filter &) = delete;

        std::vector<qrt_bytes_t> ids;
        qrt_dead_letter_filter_t filter = QRT_DEAD_LETTER_FILTER_INIT;
    };

    detail::Handle<qrt_queue_t, qrt_queue_free> handle_;
};

/// A connection to one provider. Its queues hold on to it.
class Client {
public:
    explicit Client(qrt_client_t *owned) : handle_(owned) {}

    /// Opens a queue. `options` is JSON over the client's, such as `{"budget": 3, "lock": "10s"}`.
    Result<Queue> queue(std::string_view name, std::string_view options = {}) const {
        return detail::make<Queue>(
            static_cast<qrt_queue_t *>(nullptr), [](qrt_queue_t *made) { return Queue(made); },
            [&](auto place, auto error) {
                return qrt_queue_open(handle_.get(), detail::lend(name), detail::lend(options),
                                      place, error);
            });
    }
    /// What the provider can do and its limits, as JSON.
    Result<std::string> capabilities() const {
        return detail::make<std::string>(
            static_cast<qrt_buffer_t *>(nullptr),
            [](qrt_buffer_t *made) {
                const detail::Handle<qrt_buffer_t, qrt_buffer_free> owned(made);
                return std::string(detail::text(qrt_buffer_bytes(made)));
            },
            [&](auto place, auto error) {
                return qrt_client_capabilities(handle_.get(), place, error);
            });
    }
    /// Where the breaker of the whole client stands, one of QRT_BREAKER_....
    std::uint32_t breaker_state() const noexcept { return qrt_client_breaker_state(handle_.get()); }
    /// Closes the breaker of the whole client by hand, and forgets what failed.
    Result<void> reset_breaker() const {
        return detail::run(
            [&](qrt_error_t **error) { return qrt_client_reset_breaker(handle_.get(), error); });
    }
    /// Ends it: what waits ends with the error `closed`.
    auto close() const {
        return detail::verb<void>([client = handle_.get()](auto done, auto, auto op, auto error) {
            return qrt_client_close(client, done, op, error);
        });
    }

private:
    detail::Handle<qrt_client_t, qrt_client_free> handle_;
};

namespace detail {
template <>
struct Output<Client> : HandleOutput<Client, qrt_client_t, qrt_op_take_client> {};
}  // namespace detail

/// Something to be written: a JSON object for a table, any bytes for a sink of the program. Entries
/// of one key keep their order, and the last of them stands for all in a batch; a table finds the
/// key in the body.
struct Entry {
    Bytes body;
    Bytes key = {};
};

/// Entries for a sink of the program to write: a key comes once at most. One that is destroyed
/// unfinished comes again.
class WriteBatch {
public:
    explicit WriteBatch(qrt_write_batch_t *owned) : handle_(owned) {}

    std::size_t size() const noexcept { return qrt_write_batch_count(handle_.get()); }
    /// An entry, whose bytes borrow from the batch; empty for an index that is not below size().
    Entry operator[](std::size_t index) const noexcept {
        const qrt_bytes_t body = qrt_write_batch_body(handle_.get(), index);
        const qrt_bytes_t key = qrt_write_batch_key(handle_.get(), index);
        return {{body.data, body.len}, {key.data, key.len}};
    }
    /// Says that an entry is not written, and why: QRT_ERR_INVALID_MESSAGE and QRT_ERR_PROVIDER
    /// give it up, QRT_ERR_UNAVAILABLE has it tried again.
    Result<void> refuse(std::size_t index, qrt_status_t status, std::string_view message) {
        return detail::run([&](qrt_error_t **error) {
            return qrt_write_batch_refuse(handle_.get(), index, status, detail::lend(message),
                                          error);
        });
    }
    /// Every entry is written that was not refused.
    Result<void> finish() && { return std::move(*this).fail(QRT_OK, {}); }
    /// Nothing is written, or it may be written again. A status that blames the entries, as in
    /// refuse(), brings the batch again in halves until the bad entry is alone; any other brings it
    /// again whole, after a while.
    Result<void> fail(qrt_status_t status, std::string_view message) && {
        Result<void> done = detail::run([&](qrt_error_t **error) {
            return qrt_write_batch_finish(handle_.get(), status, detail::lend(message), error);
        });
        if (done) (void)handle_.release();
        return done;
    }

private:
    detail::Handle<qrt_write_batch_t, qrt_write_batch_free> handle_;
};

/// An entry that can never be written.
struct RejectedEntry {
    std::string body, key;
    /// In a word: the sink's own code, or the error's kind.
    std::string reason;
    std::string description;
    /// How often it was tried.
    std::uint32_t attempts;
    Timestamp enqueued_at;
};

/// Counts of a write-behind, all of one moment: enqueued is the sum of persisted, failed and depth.
struct WriteBehindMetrics {
    std::uint64_t enqueued, persisted, failed, retries, batches, depth;
    Timestamp timestamp;
};

/// What a close did not write.
struct CloseReport {
    /// Body and key of entries that could not be written in time, in the order of their coming.
    std::vector<std::pair<std::string, std::string>> unwritten;
    /// Entries that stay in the journal for the next start.
    std::uint64_t left_in_journal;
    /// Entries that were given up, and kept because there is no dead-letter queue.
    std::vector<RejectedEntry> rejected;
};

namespace detail {

inline std::string copied(qrt_bytes_t bytes) { return std::string(text(bytes)); }

inline std::vector<RejectedEntry> rejected(const qrt_rejected_t *entries) {
    std::vector<RejectedEntry> all;
    for (std::size_t i = 0; i < qrt_rejected_count(entries); i++)
        all.push_back({copied(qrt_rejected_body(entries, i)), copied(qrt_rejected_key(entries, i)),
                       copied(qrt_rejected_reason(entries, i)),
                       copied(qrt_rejected_description(entries, i)),
                       qrt_rejected_attempts(entries, i),
                       moment(qrt_rejected_enqueued_at(entries, i))});
    return all;
}

template <>
struct Output<CloseReport> {
    using Place = qrt_close_report_t *;
    static constexpr auto take = qrt_op_take_close_report;
    static Result<CloseReport> wrap(Place place) {
        const Handle<qrt_close_report_t, qrt_close_report_free> owned(place);
        CloseReport report{{},
                           qrt_close_report_left_in_journal(place),
                           rejected(qrt_close_report_rejected(place))};
        for (std::size_t i = 0; i < qrt_close_report_unwritten_count(place); i++)
            report.unwritten.emplace_back(copied(qrt_close_report_unwritten_body(place, i)),
                                          copied(qrt_close_report_unwritten_key(place, i)));
        return report;
    }
};

template <>
struct Output<std::optional<WriteBatch>> {
    using Place = qrt_write_batch_t *;
    static constexpr auto take = qrt_op_take_write_batch;
    static Result<std::optional<WriteBatch>> wrap(Place place) {
        if (place == nullptr) return std::optional<WriteBatch>();
        return std::optional<WriteBatch>(WriteBatch(place));
    }
};

}  // namespace detail

/// Accepts entries and writes them in batches, into the table of a database or into the program;
/// made by Runtime::write_behind. Destroyed, it still writes what was accepted, in the background.
class WriteBehind {
    auto enqueue(Bytes body, Bytes key, std::uint32_t flags) const {
        return detail::verb<void>(
            [handle = handle_.get(), body, key, flags](auto done, auto, auto op, auto error) {
                const qrt_entry_t entry = {detail::lend(body), detail::lend(key)};
                return qrt_write_behind_enqueue(handle, &entry, flags, done, op, error);
            });
    }

public:
    explicit WriteBehind(qrt_write_behind_t *owned) : handle_(owned) {}

    /// A Verb of void: accepts an entry; waits while the buffer is full. If it went
    /// into the journal it is durable then.
    auto enqueue(Bytes body, Bytes key = {}) const { return enqueue(body, key, 0); }
    /// As enqueue(), with the error `full` instead of waiting.
    auto try_enqueue(Bytes body, Bytes key = {}) const { return enqueue(body, key, QRT_NO_WAIT); }
    /// A Verb of SettleResults: accepts entries in their order; result i belongs to entry i.
    auto enqueue_many(const std::vector<Entry> &entries) const {
        return detail::verb<SettleResults>([handle = handle_.get(), &entries](
                                               auto done, auto place, auto op, auto error) {
            std::vector<qrt_entry_t> lent;
            lent.reserve(entries.size());
            for (const Entry &entry : entries)
                lent.push_back({detail::lend(entry.body), detail::lend(entry.key)});
            return qrt_write_behind_enqueue_many(handle, lent.data(), lent.size(), 0, done, place,
                                                 op, error);
        });
    }
    /// A Verb of std::optional<WriteBatch>: the next batch of a sink without a callback; none once
    /// this has closed.
    auto next() const {
        return detail::verb<std::optional<WriteBatch>>(
            [handle = handle_.get()](auto done, auto place, auto op, auto error) {
                return qrt_write_behind_next(handle, done, place, op, error);
            });
    }
    /// A Verb of void: writes everything accepted before, and ends when it is written or given up.
    auto flush() const {
        return detail::verb<void>([handle = handle_.get()](auto done, auto, auto op, auto error) {
            return qrt_write_behind_flush(handle, done, op, error);
        });
    }
    /// A Verb of void: writes the messages of a queue, each acknowledged after the sink's commit,
    /// until this is closed.
    auto feed(const Queue &queue) const {
        return detail::verb<void>(
            [handle = handle_.get(), queue = queue.get()](auto done, auto, auto op, auto error) {
                return qrt_write_behind_feed(handle, queue, done, op, error);
            });
    }
    /// A Verb of CloseReport: accepts nothing more and writes what was accepted; what is not
    /// written by the deadline is in the report, back in its queue, or in the journal.
    auto close(Milliseconds deadline) const {
        return detail::verb<CloseReport>([handle = handle_.get(), deadline](
                                             auto done, auto place, auto op, auto error) {
            return qrt_write_behind_close(handle, deadline.count(), done, place, op, error);
        });
    }
    /// Takes the entries that were given up and kept because there is no dead-letter queue.
    Result<std::vector<RejectedEntry>> take_rejected() const {
        return detail::make<std::vector<RejectedEntry>>(
            static_cast<qrt_rejected_t *>(nullptr),
            [](qrt_rejected_t *taken) {
                const detail::Handle<qrt_rejected_t, qrt_rejected_free> owned(taken);
                return detail::rejected(taken);
            },
            [&](auto place, auto error) {
                return qrt_write_behind_take_rejected(handle_.get(), place, error);
            });
    }
    /// Counts, all of one moment.
    Result<WriteBehindMetrics> metrics() const {
        return detail::make<WriteBehindMetrics>(
            static_cast<qrt_write_behind_metrics_t *>(nullptr),
            [](qrt_write_behind_metrics_t *m) {
                const detail::Handle<qrt_write_behind_metrics_t, qrt_write_behind_metrics_free>
                    owned(m);
                return WriteBehindMetrics{qrt_write_behind_metrics_enqueued(m),
                                          qrt_write_behind_metrics_persisted(m),
                                          qrt_write_behind_metrics_failed(m),
                                          qrt_write_behind_metrics_retries(m),
                                          qrt_write_behind_metrics_batches(m),
                                          qrt_write_behind_metrics_depth(m),
                                          detail::moment(qrt_write_behind_metrics_timestamp(m))};
            },
            [&](auto place, auto error) {
                return qrt_write_behind_metrics(handle_.get(), place, error);
            });
    }
    /// Whether writing goes on or pauses: one of QRT_BREAKER_...
    std::uint32_t breaker_state() const noexcept {
        return qrt_write_behind_breaker_state(handle_.get());
    }

private:
    detail::Handle<qrt_write_behind_t, qrt_write_behind_free> handle_;
};

namespace detail {
template <>
struct Output<WriteBehind>
    : HandleOutput<WriteBehind, qrt_write_behind_t, qrt_op_take_write_behind> {};
}  // namespace detail

/// Threads and time that clients stand on. Several may live in one process.
class Runtime {
public:
    /// `config` is JSON, such as `{"worker_threads": 2}`; with a virtual clock time stands still
    /// until advance().
    static Result<Runtime> make(std::string_view config = {}, bool virtual_clock = false) {
        qrt_runtime_options_t options = QRT_RUNTIME_OPTIONS_INIT;
        options.config = detail::lend(config);
        options.virtual_clock = virtual_clock ? 1 : 0;
        return detail::make<Runtime>(
            static_cast<qrt_runtime_t *>(nullptr),
            [](qrt_runtime_t *made) { return Runtime(made); },
            [&](auto place, auto error) { return qrt_runtime_new(&options, place, error); });
    }
    /// As make(); throws Error.
    Runtime() : Runtime(make().value()) {}

    /// A Verb of Client: of the provider that the URL names, such as `memory:`. `config` is JSON
    /// over the URL's own.
    auto connect(std::string_view url, std::string_view config = {}) const {
        return detail::verb<Client>([runtime = handle_.get(), url, config](
                                        auto done, auto place, auto op, auto error) {
            return qrt_client_open(runtime, detail::lend(url), detail::lend(config), done, place,
                                   op, error);
        });
    }
    /// A Verb of WriteBehind, into the table that `config` names, such as
    /// `{"sink": "postgres://app@db/app", "table": "prices", "key": "item"}`.
    auto write_behind(std::string_view config) const {
        return detail::verb<WriteBehind>(
            [runtime = handle_.get(), config](auto done, auto place, auto op, auto error) {
                return qrt_write_behind_open(runtime, detail::lend(config), nullptr, done, place,
                                             op, error);
            });
    }
    /// A Verb of WriteBehind, whose batches the program asks for by WriteBehind::next.
    auto write_behind_asked(std::string_view config = {}) const {
        return detail::verb<WriteBehind>(
            [runtime = handle_.get(), config](auto done, auto place, auto op, auto error) {
                const qrt_sink_t sink = QRT_SINK_INIT;
                return qrt_write_behind_open(runtime, detail::lend(config), &sink, done, place, op,
                                             error);
            });
    }
    /// A Verb of WriteBehind, which calls `sink(WriteBatch)` on threads of the runtime; the sink
    /// may keep a batch and finish it later.
    template <class F>
    auto write_behind(std::string_view config, F sink) const {
        auto owned = std::make_shared<F>(std::move(sink));
        return detail::verb<WriteBehind>([runtime = handle_.get(), config, owned](
                                             auto done, auto place, auto op, auto error) {
            qrt_sink_t lent = QRT_SINK_INIT;
            lent.user_data = new std::shared_ptr<F>(owned);
            lent.on_batch = [](void *kept, qrt_write_batch_t *batch) noexcept {
                (**static_cast<std::shared_ptr<F> *>(kept))(WriteBatch(batch));
            };
            lent.free = [](void *kept) noexcept { delete static_cast<std::shared_ptr<F> *>(kept); };
            return qrt_write_behind_open(runtime, detail::lend(config), &lent, done, place, op,
                                         error);
        });
    }
    /// Ends it: what waits ends with the error `closed`. Waits for what has begun, at most this
    /// long; `timeout` beyond.
    Result<void> shutdown(Milliseconds timeout) const {
        return detail::run([&](qrt_error_t **error) {
            return qrt_runtime_shutdown(handle_.get(), timeout.count(), error);
        });
    }
    /// Moves a virtual clock.
    Result<void> advance(Milliseconds by) const {
        return detail::run([&](qrt_error_t **error) {
            return qrt_runtime_advance(handle_.get(), by.count(), error);
        });
    }
    /// The present time of its clock.
    Timestamp now() const noexcept { return detail::moment(qrt_runtime_now(handle_.get())); }
    /// The metrics of all its clients, as OpenMetrics text.
    Result<std::string> metrics() const {
        return detail::make<std::string>(
            static_cast<qrt_buffer_t *>(nullptr),
            [](qrt_buffer_t *made) {
                const detail::Handle<qrt_buffer_t, qrt_buffer_free> owned(made);
                return std::string(detail::text(qrt_buffer_bytes(made)));
            },
            [&](auto place, auto error) {
                return qrt_runtime_metrics(handle_.get(), place, error);
            });
    }
    qrt_runtime_t *get() const noexcept { return handle_.get(); }

private:
    explicit Runtime(qrt_runtime_t *owned) : handle_(owned) {}
    detail::Handle<qrt_runtime_t, qrt_runtime_free> handle_;
};

/// An operation that has ended, as an event queue gives it.
class Event {
public:
    Event(std::uint64_t tag, qrt_op_t *owned) : tag_(tag), op_(owned) {}

    /// The tag it was watched under.
    std::uint64_t tag() const noexcept { return tag_; }
    /// Its result, once; T is what its verb gives.
    template <class T>
    Result<T> take() {
        return Operation<T>::take(op_.get());
    }

private:
    std::uint64_t tag_;
    detail::Op op_;
};

/// Ended operations, in order, for one event loop.
class Events {
public:
    static Result<Events> make(const Runtime &runtime) {
        return detail::make<Events>(
            static_cast<qrt_events_t *>(nullptr),
            [](qrt_events_t *made) { return Events(made); },
            [&](auto place, auto error) { return qrt_events_new(runtime.get(), place, error); });
    }
    /// Readable while the queue is not empty; -1 where there is none. Do not read or close it.
    int fd() const noexcept { return qrt_events_fd(handle_.get()); }
    /// Calls `f()` when the queue turns from empty to not empty, on a thread of the runtime.
    template <class F>
    Result<void> set_wake(F f) const {
        auto *held = new F(std::move(f));
        return detail::run([&](qrt_error_t **error) {
            return qrt_events_set_wake(
                handle_.get(),
                [](void *user_data) noexcept { (*static_cast<F *>(user_data))(); }, held,
                [](void *user_data) noexcept { delete static_cast<F *>(user_data); }, error);
        });
    }
    /// Puts a pending operation into the queue under a tag once it has ended. One that ended at
    /// once has its result in itself: false.
    template <class T>
    Result<bool> watch(const Operation<T> &operation, std::uint64_t tag) const {
        qrt_error_t *error = nullptr;
        if (!operation.op_) return false;
        if (qrt_events_watch(handle_.get(), operation.op_.get(), tag, &error) != QRT_OK)
            return detail::error_of(error);
        return true;
    }
    /// Takes up to `max` ended operations, oldest first. One thread at a time.
    std::vector<Event> drain(std::size_t max) const {
        std::vector<qrt_event_t> raw(max);
        raw.resize(qrt_events_drain(handle_.get(), raw.data(), max));
        std::vector<Event> events;
        for (const qrt_event_t &event : raw) events.emplace_back(event.tag, event.op);
        return events;
    }

private:
    explicit Events(qrt_events_t *owned) : handle_(owned) {}
    detail::Handle<qrt_events_t, qrt_events_free> handle_;
};

/// What the log of the `file:` store in a folder holds, as JSON; see `qrt_store_verify`. Changes
/// nothing. Waits for the disk.
inline Result<std::string> verify_store(std::string_view folder) {
    return detail::make<std::string>(
        static_cast<qrt_buffer_t *>(nullptr),
        [](qrt_buffer_t *made) {
            const detail::Handle<qrt_buffer_t, qrt_buffer_free> owned(made);
            return std::string(detail::text(qrt_buffer_bytes(made)));
        },
        [&](auto place, auto error) {
            return qrt_store_verify(detail::lend(folder), place, error);
        });
}

/// What the log of the `file:` store in a folder says, a record a line, as JSON, piece by piece to
/// `write`, which must not throw; `false` ends it. Changes nothing. Waits for the disk.
template <class Write>
Result<void> dump_store(std::string_view folder, Write write) {
    qrt_error_t *error = nullptr;
    const auto forward = [](void *data, qrt_bytes_t text) {
        return (*static_cast<Write *>(data))(detail::text(text)) ? 0 : 1;
    };
    if (qrt_store_dump(detail::lend(folder), forward, &write, &error) != QRT_OK)
        return detail::error_of(error);
    return {};
}

/// The version of the library, such as `0.1.0`.
inline std::string_view version() noexcept { return detail::text(qrt_version()); }

}  // namespace queue_runtime

#endif
