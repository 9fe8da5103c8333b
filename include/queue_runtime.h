/*
 * queue_runtime: one message-queue engine. C ABI. Generated from ffi/src by cbindgen; do not edit.
 *
 * OWNERSHIP. Three words, in every comment: a pointer or bytes that somebody BORROWS are valid
 * until the named moment; what is COPIED may be changed or freed after the call; what is TAKEN is
 * the other side's from then on. Inputs are copied unless the comment says otherwise. Every handle
 * that a function gives out is the caller's, and freed by the qrt_..._free of its type; NULL is
 * fine there. Handles may be freed in any order: they hold on to what they need. The library
 * never frees the caller's memory but through a function the caller gave with it, and the other
 * way round. To use a handle after its free, to free one that a call of another thread is using,
 * and to pass a pointer that is no handle, is undefined.
 *
 * TEXT is UTF-8 with a length, not NUL-terminated; {NULL, 0} is the empty value. Durations are
 * int64_t milliseconds, moments int64_t milliseconds since 1970 UTC.
 *
 * THREADS. Handles may be used from any thread, unless the comment of a function says otherwise.
 * Callbacks run on threads of the runtime, with no lock held; they may call everything but the
 * functions that wait (qrt_op_wait, qrt_runtime_shutdown), which answer QRT_ERR_WOULD_DEADLOCK
 * there. Callbacks must not throw and should not block.
 *
 * ERRORS. A function that can fail answers a status and takes a last `qrt_error_t **error`, which
 * may be NULL. It is written only on failure, and the error is the caller's to free. Handles
 * asked for are set to NULL before anything else. Callers need a default branch: statuses may be
 * added, never renumbered. A bug in the library is QRT_ERR_PANIC, never a crash of the process.
 *
 * IMMEDIATE COMPLETION. A verb that can end at once does: QRT_OK, the result is in its place,
 * `*op` is NULL, and neither function of the completion runs: its user_data stays the caller's. A
 * verb that cannot answers QRT_PENDING: `*op` is the operation (`op` may be NULL, then it is not
 * given out), the completion's `fn` runs exactly once, then its `free` once; take the result with
 * qrt_op_take_... inside `fn`, after qrt_op_wait, or when an event queue gives the operation back
 * (qrt_events_watch). On an error neither function runs. No verb waits before it returns, for a
 * disk or for anything else, unless QRT_MAY_BLOCK allows it.
 *
 * SHUTDOWN. qrt_consumer_stop ends the callbacks of a consumer, qrt_client_close what waits on a
 * client, qrt_runtime_shutdown everything. To free without any of them is fine: it never waits,
 * and what was received but not settled comes back when its lock ends.
 *
 * FORK. A child process cannot use what its parent made: everything answers QRT_ERR_FORKED there,
 * and freeing does nothing. Make a new runtime in the child.
 *
 * OPTIONS begin with their size: start from the QRT_..._INIT macro of the struct, which writes the
 * defaults. Zero means zero.
 */

#ifndef QUEUE_RUNTIME_H
#define QUEUE_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

// A verb with this flag may wait for a disk on the calling thread, where that is quicker than a
// completion. Without it no verb ever waits before it returns.
#define QRT_MAY_BLOCK 1

// A receive with this flag keeps the locks of its messages, until each is settled or its batch is
// freed, for up to 10 minutes.
#define QRT_KEEP_LOCK 2

// An explanation with this flag is text for people instead of JSON.
#define QRT_AS_TEXT 4

// To be received.
#define QRT_STATE_READY 0

// Not yet to be received.
#define QRT_STATE_DELAYED 1

// In somebody's hands.
#define QRT_STATE_IN_FLIGHT 2

// Work goes on.
#define QRT_CANCEL_NONE 0

// The lock ended: somebody else may have the message by now.
#define QRT_CANCEL_LOCK_LOST 1

// The lock was kept for as long as it may be, and is let go.
#define QRT_CANCEL_STALLED 2

// The consumer was drained, and the time for that is over: the message goes back.
#define QRT_CANCEL_DRAINED 3

// Work goes on.
#define QRT_BREAKER_CLOSED 0

// One thing at a time is tried.
#define QRT_BREAKER_HALF_OPEN 1

// Nothing is tried, because it would fail.
#define QRT_BREAKER_OPEN 2

// The groups of dead letters by their reason.
#define QRT_BY_REASON 0

// The groups of dead letters by the queue they were sent to.
#define QRT_BY_SOURCE 1

// An enqueue with this flag answers `QRT_ERR_FULL` instead of waiting for room.
#define QRT_NO_WAIT 4

// Something failed.
#define QRT_LOG_ERROR 1

// Something is odd.
#define QRT_LOG_WARN 2

// Something happened.
#define QRT_LOG_INFO 3

// For who looks for a fault.
#define QRT_LOG_DEBUG 4

// Everything.
#define QRT_LOG_TRACE 5

// The ABI's major version: equal in header and library, or they do not fit.
#define QRT_ABI_MAJOR 0

// The ABI's minor version: that of the header is at most that of the library.
#define QRT_ABI_MINOR 1

// Messages of one receive, each a delivery. Immutable, any thread. Outlives its queue, client
// and runtime safely. Freeing it settles nothing: what is not settled comes back when its lock
// ends.
typedef struct qrt_batch_t qrt_batch_t;

// Bytes or text in memory of the library's. Immutable, any thread.
typedef struct qrt_buffer_t qrt_buffer_t;

// A connection to one provider. Thread-safe.
typedef struct qrt_client_t qrt_client_t;

// What a close did not write. Immutable, any thread.
typedef struct qrt_close_report_t qrt_close_report_t;

// Receives until it is stopped. Thread-safe.
typedef struct qrt_consumer_t qrt_consumer_t;

// How many dead letters there are, why, since when, and from which queue. Immutable, any thread.
typedef struct qrt_dead_letter_statistics_t qrt_dead_letter_statistics_t;

// Dead letters of a listing. Immutable, any thread.
typedef struct qrt_dead_letters_t qrt_dead_letters_t;

// One hand-over of a message. Belongs to its batch, or, once retained, to the caller as well.
// Thread-safe.
typedef struct qrt_delivery_t qrt_delivery_t;

// What became of the deliveries a consumer had when its drain began. Immutable, any thread.
typedef struct qrt_drain_report_t qrt_drain_report_t;

// What went wrong, where, and what to do. Stands alone: freed by itself, in any order. Immutable,
// any thread.
typedef struct qrt_error_t qrt_error_t;

// Ended operations, in order, for one event loop. One wake for each change from empty to not
// empty. Thread-safe; drained by one thread at a time.
typedef struct qrt_events_t qrt_events_t;

// A message: made by the caller to be sent as often as wanted, or seen in what holds it (a
// delivery, a listing), which it is borrowed from. One thread at a time may change one of the
// caller's; any number may read and send it.
typedef struct qrt_message_t qrt_message_t;

// A pending operation: to cancel, to wait for, to take the result from. Thread-safe.
typedef struct qrt_op_t qrt_op_t;

// Messages that were looked at, not taken. Immutable, any thread.
typedef struct qrt_peeked_t qrt_peeked_t;

// What became of everything that a producer accepted. Immutable, any thread.
typedef struct qrt_producer_report_t qrt_producer_report_t;

// Sends in batches what it is given one by one, in order. Thread-safe.
typedef struct qrt_producer_t qrt_producer_t;

// A queue of a client. Thread-safe.
typedef struct qrt_queue_t qrt_queue_t;

// What a redrive did. Immutable, any thread.
typedef struct qrt_redrive_report_t qrt_redrive_report_t;

// Entries that can never be written, with why. Immutable, any thread.
typedef struct qrt_rejected_t qrt_rejected_t;

// Threads and time that clients stand on. Thread-safe. Several may live in one process.
typedef struct qrt_runtime_t qrt_runtime_t;

// What became of the messages of a send. Result i belongs to message i. Immutable, any thread.
typedef struct qrt_send_results_t qrt_send_results_t;

// A held session. Thread-safe. Let go by close, by free, or when its lock ends.
typedef struct qrt_session_t qrt_session_t;

// What became of settlements, or of entries that were enqueued. Result i belongs to entry i.
// Immutable, any thread.
typedef struct qrt_settle_results_t qrt_settle_results_t;

// A list of deliveries and how each ends. One thread at a time may add to it.
typedef struct qrt_settlements_t qrt_settlements_t;

// Counts and ages of a queue at one moment. Immutable, any thread.
typedef struct qrt_statistics_t qrt_statistics_t;

// Entries for a sink of the program to write: a key comes once at most. Any thread.
typedef struct qrt_write_batch_t qrt_write_batch_t;

// Counts of a write-behind, all of one moment: enqueued is always the sum of persisted, failed and
// depth. Immutable, any thread.
typedef struct qrt_write_behind_metrics_t qrt_write_behind_metrics_t;

// Accepts entries and writes them in batches. Thread-safe.
typedef struct qrt_write_behind_t qrt_write_behind_t;

// What a function came to: `QRT_OK`, `QRT_PENDING`, or the kind of its error. Callers must have
// a default branch: kinds may be added.
typedef int32_t qrt_status_t;

// Bytes that somebody else owns. Always borrowed: valid until the moment the function that gave
// them names. Text is UTF-8 and not NUL-terminated. `{NULL, 0}` is the empty value.
typedef struct {
    // The first byte; may be NULL when `len` is 0.
    const uint8_t *data;
    // How many bytes.
    size_t len;
} qrt_bytes_t;

// Options of a runtime. Begin with `QRT_RUNTIME_OPTIONS_INIT`.
typedef struct {
    // `sizeof(qrt_runtime_options_t)` of the caller.
    size_t struct_size;
    // Configuration as JSON, such as `{"worker_threads": 2}`; empty for the defaults. Borrows for
    // the length of the call.
    qrt_bytes_t config;
    // 1: time stands still until `qrt_runtime_advance` moves it, for tests. 0: the system's time.
    uint32_t virtual_clock;
} qrt_runtime_options_t;

// How a pending operation tells its end. `fn` runs exactly once, on a thread of the runtime and
// with no lock held; then `free` runs once. Beginning it is the last thing the call does: `fn`
// finds `*op` written, and may free whatever was passed, but another thread may run it before
// the caller sees the status. When the call ends at once, with or without an error, neither runs
// and `user_data` stays the caller's. Either may be NULL. Neither may throw or unwind. A runtime
// that shuts down runs what is left, with `QRT_ERR_CLOSED`. This struct is frozen for ever.
typedef struct {
    // Told of the end. `op` borrows for the length of the call: take its result here, or keep
    // the operation the call gave out.
    void (*fn)(void *user_data,
               qrt_op_t *op);
    // Passed to both functions.
    void *user_data;
    // Frees `user_data` after `fn`.
    void (*free)(void *user_data);
} qrt_completion_t;

// Options of a receive. Begin with `QRT_RECEIVE_OPTIONS_INIT`.
typedef struct {
    // `sizeof(qrt_receive_options_t)` of the caller.
    size_t struct_size;
    // At most this many messages. Default 1.
    uint32_t max_messages;
    // Any of `QRT_MAY_BLOCK` and `QRT_KEEP_LOCK`. Default 0.
    uint32_t flags;
    // How long to wait for the first message, in milliseconds; 0 looks once. Default 10,000.
    int64_t wait_ms;
    // How long the messages are locked, in milliseconds; -1: as long as the queue says. Default
    // -1.
    int64_t lock_ms;
} qrt_receive_options_t;

// Options of an accept. Begin with `QRT_SESSION_OPTIONS_INIT`.
typedef struct {
    // `sizeof(qrt_session_options_t)` of the caller.
    size_t struct_size;
    // How long to wait for a session with work, in milliseconds; 0 looks once. Default 10,000.
    // Only of `qrt_session_accept_next`.
    int64_t wait_ms;
    // How long the session is locked, in milliseconds; -1: as long as the queue says. Default -1.
    int64_t lock_ms;
} qrt_session_options_t;

// Options of a consumer. Begin with `QRT_CONSUMER_OPTIONS_INIT`. Callbacks run on threads of the
// runtime, one at a time for each consumer, with no lock held; they may call every function but
// those that wait, and should return quickly. They must not throw or unwind.
typedef struct {
    // `sizeof(qrt_consumer_options_t)` of the caller.
    size_t struct_size;
    // At most this many messages in one batch. Default 64.
    uint32_t max_messages;
    // Messages that may be in hand. With `on_batch` each one handed over uses up a credit, and
    // `qrt_consumer_grant` gives more; without it a credit comes back when its delivery is settled
    // or freed. Default 64.
    uint32_t credits;
    // How long each receive waits at the provider, in milliseconds. Default 20,000.
    int64_t wait_ms;
    // For how long messages are locked, and locked again, in milliseconds; -1: as long as the
    // queue says. Default -1.
    int64_t lock_ms;
    // For how long after its receive a lock is kept, in milliseconds. Default 600,000.
    int64_t max_lock_renewal_ms;
    // Messages received ahead of the credits: their attempts are not charged before they are
    // handed over. `UINT32_MAX`: as many as may be in hand. Default 64.
    uint32_t prefetch;
    // 0. For later use.
    uint32_t reserved;
    // No more is received ahead while it has this many bytes. Default 64 MiB.
    uint64_t prefetch_bytes;
    // Takes a batch, which the callee owns and frees. NULL: messages are asked for, by
    // `qrt_consumer_next`.
    void (*on_batch)(void *user_data,
                     qrt_batch_t *batch);
    // Told when a receive fails, with the status (`error` borrows for the call), and when
    // receiving goes on (`QRT_OK`, NULL). May be NULL.
    void (*on_state)(void *user_data,
                     qrt_status_t status,
                     const qrt_error_t *error);
    // Told that the lock of a message that was handed over and not settled was lost: somebody else
    // may have it by now. `id` borrows for the length of the call. May be NULL.
    void (*on_lock_lost)(void *user_data,
                         qrt_bytes_t id);
    // Told that a message is in hand for as long as its lock may be kept, and its lock is let go.
    // `id` borrows for the length of the call. May be NULL.
    void (*on_stall)(void *user_data,
                     qrt_bytes_t id);
    // Passed to the callbacks.
    void *user_data;
    // Frees `user_data`, once, after the last callback has returned. May be NULL.
    void (*free)(void *user_data);
    // How long to stay away after failed receives in a row, such as
    // `exponential:100ms,2,30s,jitter`, which is the default when it is empty. Borrows for the
    // length of the call.
    qrt_bytes_t reconnect;
    // `qrt_consumer_next` gives an empty batch when nothing could be handed out for this many
    // milliseconds; 0: when nothing is there; -1: it waits for ever. Not with `on_batch`. Default
    // -1.
    int64_t idle_ms;
    // When to leave messages alone since their handlers fail: failures in a row, pause, successes
    // in a row, such as `5,30s,3`; never when it is empty or `none`. A failure is a delivery that is
    // nacked, or released with a delay; while the breaker is open nothing is handed over, and a nack
    // is a release: no attempt is used. Borrows for the length of the call.
    qrt_bytes_t breaker;
    // Told where the breaker stands now, one of `QRT_BREAKER_...`, and until when one that is open
    // is, in milliseconds since 1970 UTC, else -1. States that were left at once may be skipped. May
    // be NULL.
    void (*on_breaker)(void *user_data,
                       uint32_t state,
                       int64_t until_ms);
    // Works through held sessions, at most so many at a time; 0: sessions are held by their messages
    // in hand. Not with `idle_ms`, and not of `qrt_session_consume`. Default 0.
    uint32_t max_sessions;
    // After so many messages a session makes room for another one; 0: never. Default 0.
    uint32_t session_max_messages;
    // For how long a session that has nothing is held while no other one waits, in milliseconds.
    // Default 60,000.
    int64_t session_idle_ms;
    // After how long a session makes room for another one, in milliseconds; -1: never. Default -1.
    int64_t session_max_time_ms;
    // Messages of a batch, at most, where batches wait for more: one is handed over when it has so
    // many, or `batch_bytes`, or when its first message has waited for `batch_linger_ms`. No more
    // than there are credits for. 0: batches are of what is there, up to `max_messages`, and none of
    // the following counts. Default 0.
    uint32_t batch_size;
    // The least size of a batch where sizes adapt to `target_batch_duration_ms`. Default 1.
    uint32_t min_batch_size;
    // Bytes of a batch, at most (one message may have more). Default 4 MiB.
    uint64_t batch_bytes;
    // How long a batch waits for more, in milliseconds. Default 5.
    int64_t batch_linger_ms;
    // How long a batch is to take, in milliseconds, from its hand-over until its last message is
    // settled: its size adapts to that, after the mean time of a message in the last ten batches. -1:
    // sizes do not adapt. Default -1.
    int64_t target_batch_duration_ms;
    // Of one group at most so many messages are in hand, so that a group with much work leaves hands
    // to the others; 0: any number. For queues with fair groups. Default 0.
    uint32_t max_in_flight_per_group;
    // Scales: begins with so many messages in hand, and moves between this number and `credits`: up
    // while work waits, back when that made handlers slower and got no more done, down when hands lay
    // idle. 0: it does not. Not with `on_batch`. Default 0.
    uint32_t min_concurrency;
    // How long each limit of a consumer that scales stays, in milliseconds. Default 5,000.
    int64_t scale_cooldown_ms;
} qrt_consumer_options_t;

// Options of a producer. Begin with `QRT_PRODUCER_OPTIONS_INIT`.
typedef struct {
    // `sizeof(qrt_producer_options_t)` of the caller.
    size_t struct_size;
    // Messages of a batch, at most; as many are sent at once. Default 100.
    uint32_t batch_size;
    // 0. For later use.
    uint32_t reserved;
    // Bytes of a batch, at most (one message may have more); as many are sent at once. Default 4
    // MiB.
    uint64_t batch_bytes;
    // How long a message waits for others at most, in milliseconds. Default 5.
    int64_t linger_ms;
    // Messages accepted and not yet sent, at most. Default 10,000.
    uint64_t max_pending;
    // Bytes accepted and not yet sent, at most. Default 64 MiB.
    uint64_t max_pending_bytes;
} qrt_producer_options_t;

// An ended operation.
typedef struct {
    // The tag given to `qrt_events_watch`.
    uint64_t tag;
    // The operation, ended; the caller owns it, takes its result and frees it.
    qrt_op_t *op;
} qrt_event_t;

// Which dead letters are meant; every field that is set must match. Begin with
// `QRT_DEAD_LETTER_FILTER_INIT`, which means all.
typedef struct {
    // `sizeof(qrt_dead_letter_filter_t)` of the caller.
    size_t struct_size;
    // With one of these ids; NULL: any. Borrows for the length of the call, as all fields.
    const qrt_bytes_t *ids;
    // How many ids.
    size_t ids_count;
    // With this reason; empty: any.
    qrt_bytes_t reason;
    // Of this session; empty: any.
    qrt_bytes_t session;
    // With this header; empty: any.
    qrt_bytes_t header_name;
    // The value the header must have.
    qrt_bytes_t header_value;
    // Given up at this moment or later, in milliseconds since 1970 UTC; -1: any.
    int64_t since;
    // Given up before this moment, in milliseconds since 1970 UTC; -1: any.
    int64_t until;
} qrt_dead_letter_filter_t;

// How dead letters are sent back. Begin with `QRT_REDRIVE_OPTIONS_INIT`.
typedef struct {
    // `sizeof(qrt_redrive_options_t)` of the caller.
    size_t struct_size;
    // At most this many; 0: all. Default 0.
    uint64_t max;
    // Go on after this number: `last` of an earlier report; 0: from the first. Default 0.
    uint64_t after;
    // At most this many a second; 0: as fast as it goes. Default 0.
    uint32_t per_second;
    // 1: only count what would be sent back. Default 0.
    uint32_t dry_run;
} qrt_redrive_options_t;

// Takes some more text, which borrows for the length of the call. 0: go on; anything else: no more.
typedef int32_t (*qrt_write_fn_t)(void *user_data,
                                  qrt_bytes_t text);

// A sink of the program. Begin with `QRT_SINK_INIT`. The callback runs on a thread of the runtime,
// for several batches at once where there are several writers, with no lock held; it may call
// every function but those that wait, and should return quickly: the batch may be finished later,
// by any thread. It must not throw or unwind.
typedef struct {
    // `sizeof(qrt_sink_t)` of the caller.
    size_t struct_size;
    // Takes a batch, which the callee owns and finishes. NULL: batches are asked for, by
    // `qrt_write_behind_next`.
    void (*on_batch)(void *user_data,
                     qrt_write_batch_t *batch);
    // Passed to the callback.
    void *user_data;
    // Frees `user_data`, once, after the last callback has returned; at once when nothing is
    // opened. May be NULL.
    void (*free)(void *user_data);
} qrt_sink_t;

// Something to be written. Both borrow for the length of the call. Frozen for ever.
typedef struct {
    // A JSON object for a table, any bytes for a sink of the program.
    qrt_bytes_t body;
    // Entries of one key keep their order, and the last of them stands for all in a batch. Empty:
    // none. A table finds the key in the body.
    qrt_bytes_t key;
} qrt_entry_t;

// Takes one line of log: its level, the part of the library it comes from, its text. Both borrow
// for the length of the call.
typedef void (*qrt_log_fn_t)(void *user_data,
                             uint32_t level,
                             qrt_bytes_t target,
                             qrt_bytes_t message);

// Done; results are where they were asked for.
#define QRT_OK 0

// Begun; the completion will run, and the operation holds the result then.
#define QRT_PENDING 1

// An argument of the call is wrong.
#define QRT_ERR_INVALID_ARGUMENT 10

// A configuration value is wrong.
#define QRT_ERR_INVALID_CONFIG 11

// A message cannot be sent as it is.
#define QRT_ERR_INVALID_MESSAGE 12

// A message is larger than the provider takes.
#define QRT_ERR_MESSAGE_TOO_LARGE 13

// The object, or what it belongs to, was closed or shut down.
#define QRT_ERR_CLOSED 20

// The object belongs to the parent of this forked process.
#define QRT_ERR_FORKED 21

// The operation was cancelled.
#define QRT_ERR_CANCELLED 22

// Waiting here would wait for the calling thread itself.
#define QRT_ERR_WOULD_DEADLOCK 23

// The provider cannot do this.
#define QRT_ERR_UNSUPPORTED 24

// There is no queue of this name.
#define QRT_ERR_QUEUE_NOT_FOUND 30

// There is a queue of this name already.
#define QRT_ERR_ALREADY_EXISTS 31

// The credentials were not accepted.
#define QRT_ERR_UNAUTHENTICATED 40

// The credentials do not allow this.
#define QRT_ERR_PERMISSION_DENIED 41

// The delivery was settled before, or is not of this queue.
#define QRT_ERR_INVALID_RECEIPT 50

// The lock of the delivery ran out.
#define QRT_ERR_LOCK_LOST 51

// Somebody else holds the session.
#define QRT_ERR_SESSION_LOCKED 52

// The lock of the session ran out.
#define QRT_ERR_SESSION_LOCK_LOST 53

// Not done in time.
#define QRT_ERR_TIMEOUT 60

// The provider asks to slow down.
#define QRT_ERR_THROTTLED 61

// The provider cannot be reached.
#define QRT_ERR_UNAVAILABLE 62

// The circuit breaker is open.
#define QRT_ERR_CIRCUIT_OPEN 63

// A bound is reached.
#define QRT_ERR_FULL 64

// The file system failed.
#define QRT_ERR_IO 70

// A store holds something that cannot be read.
#define QRT_ERR_CORRUPT 71

// The provider failed in a way of its own.
#define QRT_ERR_PROVIDER 80

// A bug of this library, or an unwinding callback.
#define QRT_ERR_PANIC 99

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes a runtime. `options` may be NULL. The caller owns it. Any thread.
qrt_status_t qrt_runtime_new(const qrt_runtime_options_t *options,
                             qrt_runtime_t **runtime,
                             qrt_error_t **error);

// Ends a runtime: what waits ends with `QRT_ERR_CLOSED`, begun completions are waited for, then
// the threads stop. `QRT_ERR_TIMEOUT` when that takes longer than `timeout_ms`: a callback
// hangs, and keeps its thread. `QRT_ERR_WOULD_DEADLOCK` on a thread of a runtime. Later calls on
// anything of this runtime fail with `QRT_ERR_CLOSED`; again does nothing. Any other thread.
qrt_status_t qrt_runtime_shutdown(qrt_runtime_t *runtime,
                                  int64_t timeout_ms,
                                  qrt_error_t **error);

// Moves a virtual clock by `by_ms` milliseconds; what is due then happens. Any thread.
qrt_status_t qrt_runtime_advance(qrt_runtime_t *runtime,
                                 int64_t by_ms,
                                 qrt_error_t **error);

// The present time of the runtime's clock, in milliseconds since 1970 UTC; 0 for NULL. Any
// thread.
int64_t qrt_runtime_now(const qrt_runtime_t *runtime);

// The metrics of all clients of a runtime, as OpenMetrics text. The caller owns it. Any thread.
qrt_status_t qrt_runtime_metrics(const qrt_runtime_t *runtime,
                                 qrt_buffer_t **text,
                                 qrt_error_t **error);

// Frees the caller's hold on a runtime. Never waits: without a shutdown before, the threads end
// in the background once nothing holds on to them. NULL does nothing. Any thread.
void qrt_runtime_free(qrt_runtime_t *runtime);

// Opens a client of the provider that `url` names, such as `memory:`. `config` is configuration
// as JSON over the URL's own, or empty. Creates no queue and lists none.
//
// `QRT_OK`: `*client` is there, the caller owns it. `QRT_PENDING`: `done` will run, and
// `qrt_op_take_client` gives it. `op` may be NULL. Copies its inputs. Any thread.
qrt_status_t qrt_client_open(qrt_runtime_t *runtime,
                             qrt_bytes_t url,
                             qrt_bytes_t config,
                             qrt_completion_t done,
                             qrt_client_t **client,
                             qrt_op_t **op,
                             qrt_error_t **error);

// Opens a queue of a client. `config` is options as JSON over the client's, such as
// `{"budget": 3, "lock": "10s"}`, or empty. Creates nothing; asks no network. The caller owns
// `*queue`. Copies its inputs. Any thread.
qrt_status_t qrt_queue_open(qrt_client_t *client,
                            qrt_bytes_t name,
                            qrt_bytes_t config,
                            qrt_queue_t **queue,
                            qrt_error_t **error);

// What the provider can do and its limits, as JSON:
// `{"provider": ..., "support": {"sessions": "native", ...}, "limits": {...}}`. The caller owns
// it. Any thread.
qrt_status_t qrt_client_capabilities(const qrt_client_t *client,
                                     qrt_buffer_t **json,
                                     qrt_error_t **error);

// Where the breaker of a whole client stands, the option `client_breaker`: one of `QRT_BREAKER_...`;
// `QRT_BREAKER_CLOSED` where there is none, and for NULL. Any thread.
uint32_t qrt_client_breaker_state(const qrt_client_t *client);

// Closes the breaker of a whole client by hand, and forgets what failed; those of its queues stay as
// they are. Any thread.
qrt_status_t qrt_client_reset_breaker(qrt_client_t *client,
                                      qrt_error_t **error);

// Ends a client: verbs that wait end with `QRT_ERR_CLOSED`, later ones fail with it. Deliveries
// in hand come back when their locks end. Again does nothing. Ends at once or pends, as
// `qrt_op_take_unit` tells. Any thread.
qrt_status_t qrt_client_close(qrt_client_t *client,
                              qrt_completion_t done,
                              qrt_op_t **op,
                              qrt_error_t **error);

// Frees the caller's hold on a client; its queues go on holding theirs. Never waits. NULL does
// nothing. Any thread.
void qrt_client_free(qrt_client_t *client);

// Sends messages. `QRT_OK`: `*results` says what became of each, result i of message i; the
// caller owns it. `QRT_PENDING`: the queue is full, or the provider is asked; `done` will run,
// and `qrt_op_take_send_results` gives the results. `flags`: `QRT_MAY_BLOCK` or 0. The messages
// stay the caller's. Any thread.
qrt_status_t qrt_queue_send(qrt_queue_t *queue,
                            const qrt_message_t *const *messages,
                            size_t count,
                            uint32_t flags,
                            qrt_completion_t done,
                            qrt_send_results_t **results,
                            qrt_op_t **op,
                            qrt_error_t **error);

// Sends one message, for callers that need no id back. `QRT_OK`: it is stored. `QRT_PENDING`:
// `done` will run, and `qrt_op_take_unit` tells. Otherwise as `qrt_queue_send`. Any thread.
qrt_status_t qrt_queue_send_one(qrt_queue_t *queue,
                                const qrt_message_t *message,
                                uint32_t flags,
                                qrt_completion_t done,
                                qrt_op_t **op,
                                qrt_error_t **error);

// Receives messages: as soon as one is there, with what else is ready. `options` may be NULL.
// `QRT_OK`: `*batch` has them, or is empty when none came and the wait is 0; the caller owns it.
// `QRT_PENDING`: `done` will run, and `qrt_op_take_batch` gives the batch. A receive that is
// cancelled, or that nobody takes the result of, gives its messages back unblamed. Any thread.
qrt_status_t qrt_queue_receive(qrt_queue_t *queue,
                               const qrt_receive_options_t *options,
                               qrt_completion_t done,
                               qrt_batch_t **batch,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Looks at up to `max` messages in the order of their sending, from after the sequence number
// `after` on (0: from the first), without taking them. `QRT_OK`: `*peeked` has them, the caller
// owns it. `QRT_PENDING`: `qrt_op_take_peeked`. Any thread.
qrt_status_t qrt_queue_peek(qrt_queue_t *queue,
                            uint64_t after,
                            uint32_t max,
                            qrt_completion_t done,
                            qrt_peeked_t **peeked,
                            qrt_op_t **op,
                            qrt_error_t **error);

// Counts and ages of a queue. `QRT_OK`: `*statistics` has them, the caller owns it.
// `QRT_PENDING`: `qrt_op_take_statistics`. Any thread.
qrt_status_t qrt_queue_statistics(qrt_queue_t *queue,
                                  qrt_completion_t done,
                                  qrt_statistics_t **statistics,
                                  qrt_op_t **op,
                                  qrt_error_t **error);

// Explains when messages of a queue are tried again after they failed: budget, waits, and where it
// ends, as it is in force. With the `id` of a message, unless empty: where that stands and when the
// next attempt at it comes, where the provider can be looked into (the capability `peek`); it is
// looked for among all messages.
//
// `QRT_OK`: `*explanation` is there, the caller owns it: with the flag `QRT_AS_TEXT` text for people,
// otherwise JSON, which has that as its `text`, durations as `..._ms` and moments in milliseconds
// since 1970 UTC. `QRT_PENDING`: `qrt_op_take_buffer`. `flags`: `QRT_AS_TEXT` or 0. Any thread.
qrt_status_t qrt_queue_explain(qrt_queue_t *queue,
                               qrt_bytes_t id,
                               uint32_t flags,
                               qrt_completion_t done,
                               qrt_buffer_t **explanation,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Creates the queue by explicit call; `QRT_ERR_ALREADY_EXISTS` if it is there. Ends at once or
// pends, as `qrt_op_take_unit` tells. Any thread.
qrt_status_t qrt_queue_create(qrt_queue_t *queue,
                              qrt_completion_t done,
                              qrt_op_t **op,
                              qrt_error_t **error);

// Where the breaker of a queue's sends stands, one of `QRT_BREAKER_...`; `QRT_BREAKER_CLOSED` where
// there is none, and for NULL. Any thread.
uint32_t qrt_queue_breaker_state(const qrt_queue_t *queue);

// Closes the breaker of a queue's sends by hand, and forgets what failed. Any thread.
qrt_status_t qrt_queue_reset_breaker(qrt_queue_t *queue,
                                     qrt_error_t **error);

// Frees the caller's hold on a queue; deliveries go on holding theirs. NULL does nothing. Any
// thread.
void qrt_queue_free(qrt_queue_t *queue);

// Makes an empty message. The caller owns it. Any thread.
qrt_status_t qrt_message_new(qrt_message_t **message,
                             qrt_error_t **error);

// Makes a message of the caller's own out of one that something else holds. Their contents are
// shared until one is changed. The caller owns `*copy`. Any thread.
qrt_status_t qrt_message_copy(const qrt_message_t *message,
                              qrt_message_t **copy,
                              qrt_error_t **error);

// Sets the body. Copies. One thread at a time.
qrt_status_t qrt_message_set_body(qrt_message_t *message,
                                  qrt_bytes_t body,
                                  qrt_error_t **error);

// Sets the body to memory the library takes: `free(user_data)` runs once, on any thread, when
// the last use of it is over, or at once when the call fails. `free` may be NULL for memory that
// lives for ever. One thread at a time.
qrt_status_t qrt_message_take_body(qrt_message_t *message,
                                   qrt_bytes_t body,
                                   void (*free)(void *user_data),
                                   void *user_data,
                                   qrt_error_t **error);

// Sets a header, in place of one of the same name. Copies. One thread at a time.
qrt_status_t qrt_message_set_header(qrt_message_t *message,
                                    qrt_bytes_t name,
                                    qrt_bytes_t value,
                                    qrt_error_t **error);

// Gives the message an id of the sender's choice. Copies. One thread at a time.
qrt_status_t qrt_message_set_id(qrt_message_t *message,
                                qrt_bytes_t value,
                                qrt_error_t **error);

// Puts the message into an ordered group. Copies. One thread at a time.
qrt_status_t qrt_message_set_session(qrt_message_t *message,
                                     qrt_bytes_t value,
                                     qrt_error_t **error);

// Puts the message into the session that `key` finds in its headers, which are set before, or into
// none where it finds none. A key is JSON: `{"field": "customer"}`, `{"composite": ["tenant",
// "order"]}`, `{"first_of": [KEY, ...]}`, each also with a `"prefix"` and, for another session every
// so many hours, `"per_hours"`; or `"none"`. `now_ms` is the moment of the latter, such as that of
// `qrt_runtime_now`. `QRT_ERR_INVALID_CONFIG` says what is wrong with the key. Copies. One thread at
// a time.
qrt_status_t qrt_message_set_session_by(qrt_message_t *message,
                                        qrt_bytes_t key,
                                        int64_t now_ms,
                                        qrt_error_t **error);

// Says what this message answers or belongs to. Copies. One thread at a time.
qrt_status_t qrt_message_set_correlation_id(qrt_message_t *message,
                                            qrt_bytes_t value,
                                            qrt_error_t **error);

// Says the media type of the body. Copies. One thread at a time.
qrt_status_t qrt_message_set_content_type(qrt_message_t *message,
                                          qrt_bytes_t value,
                                          qrt_error_t **error);

// Within the dedup window only the first message of this dedup id is stored. Copies. One thread
// at a time.
qrt_status_t qrt_message_set_dedup_id(qrt_message_t *message,
                                      qrt_bytes_t value,
                                      qrt_error_t **error);

// Lets the message appear only this long after its sending. One thread at a time.
qrt_status_t qrt_message_set_delay_ms(qrt_message_t *message,
                                      int64_t delay_ms,
                                      qrt_error_t **error);

// Lets the message expire this long after its sending. One thread at a time.
qrt_status_t qrt_message_set_ttl_ms(qrt_message_t *message,
                                    int64_t ttl_ms,
                                    qrt_error_t **error);

// The body. Borrows as long as the message, until it is changed. Any thread.
qrt_bytes_t qrt_message_body(const qrt_message_t *message);

// The ordered group the message is in, or empty. Borrows as long as the message, until it is changed. Any thread.
qrt_bytes_t qrt_message_session(const qrt_message_t *message);

// What the message answers or belongs to, or empty. Borrows as long as the message, until it is changed. Any thread.
qrt_bytes_t qrt_message_correlation_id(const qrt_message_t *message);

// The media type of the body, or empty. Borrows as long as the message, until it is changed. Any thread.
qrt_bytes_t qrt_message_content_type(const qrt_message_t *message);

// The dedup id, or empty. Borrows as long as the message, until it is changed. Any thread.
qrt_bytes_t qrt_message_dedup_id(const qrt_message_t *message);

// How long after its sending the message appears, in milliseconds; -1 when that was not said.
// Any thread.
int64_t qrt_message_delay_ms(const qrt_message_t *message);

// How long after its sending the message expires, in milliseconds; -1 when that was not said.
// Any thread.
int64_t qrt_message_ttl_ms(const qrt_message_t *message);

// The value of a header, or empty. Borrows as long as the message, until it is changed. Any
// thread.
qrt_bytes_t qrt_message_header(const qrt_message_t *message,
                               qrt_bytes_t name);

// How many headers; 0 for NULL. Any thread.
size_t qrt_message_header_count(const qrt_message_t *message);

// Name and value of header `index`, in the order of the names; both empty when there is none.
// Either place may be NULL. They borrow as long as the message, until it is changed. Any thread.
void qrt_message_header_at(const qrt_message_t *message,
                           size_t index,
                           qrt_bytes_t *name,
                           qrt_bytes_t *value);

// Frees a message of the caller's; what was sent of it stays sent. Not for one that is borrowed.
// NULL does nothing. Any thread.
void qrt_message_free(qrt_message_t *message);

// How many results; 0 for NULL. Any thread.
size_t qrt_send_results_count(const qrt_send_results_t *results);

// `QRT_OK` when message `index` is stored, else why not; `QRT_ERR_INVALID_ARGUMENT` when there is
// no such result. Any thread.
qrt_status_t qrt_send_results_status(const qrt_send_results_t *results,
                                     size_t index);

// The id of stored message `index`; of the first one, if it was a duplicate. Borrows until the
// results are freed. Any thread.
qrt_bytes_t qrt_send_results_id(const qrt_send_results_t *results,
                                size_t index);

// 1 when message `index` was not stored because one of the same dedup id was before it. Any
// thread.
uint32_t qrt_send_results_is_duplicate(const qrt_send_results_t *results,
                                       size_t index);

// The error of message `index`, or NULL. Borrows until the results are freed. Any thread.
const qrt_error_t *qrt_send_results_error(const qrt_send_results_t *results,
                                          size_t index);

// Frees results. NULL does nothing. Any thread.
void qrt_send_results_free(qrt_send_results_t *results);

// How many messages; 0 for NULL. Any thread.
size_t qrt_peeked_count(const qrt_peeked_t *peeked);

// Message `index`, or NULL when there is none. Borrows until the messages are freed. Any thread.
const qrt_message_t *qrt_peeked_message(const qrt_peeked_t *peeked,
                                        size_t index);

// The id of message `index`. Borrows until the messages are freed. Any thread.
qrt_bytes_t qrt_peeked_id(const qrt_peeked_t *peeked,
                          size_t index);

// How message `index` stands: `QRT_STATE_...`. Any thread.
uint32_t qrt_peeked_state(const qrt_peeked_t *peeked,
                          size_t index);

// The place of message `index` in the order of the queue: the cursor of a listing. Any thread.
uint64_t qrt_peeked_sequence(const qrt_peeked_t *peeked,
                             size_t index);

// Attempts made at message `index`. Any thread.
uint32_t qrt_peeked_attempts(const qrt_peeked_t *peeked,
                             size_t index);

// When message `index` was sent, in milliseconds since 1970 UTC. Any thread.
int64_t qrt_peeked_enqueued_at(const qrt_peeked_t *peeked,
                               size_t index);

// Frees messages that were looked at. NULL does nothing. Any thread.
void qrt_peeked_free(qrt_peeked_t *peeked);

// How many messages; 0 for NULL. Any thread.
size_t qrt_batch_count(const qrt_batch_t *batch);

// Delivery `index`, or NULL when there is none. Borrows until the batch is freed; retain it to
// keep it longer. Any thread.
const qrt_delivery_t *qrt_batch_get(const qrt_batch_t *batch,
                                    size_t index);

// Frees the caller's hold on a batch; retained deliveries keep its memory. NULL does nothing.
// Any thread.
void qrt_batch_free(qrt_batch_t *batch);

// One more hold on a delivery, and so on the memory of its batch: free it with
// `qrt_delivery_free`. Answers the same pointer; NULL for NULL. Any thread.
const qrt_delivery_t *qrt_delivery_retain(const qrt_delivery_t *delivery);

// Gives up a hold made by `qrt_delivery_retain`. Settles nothing. NULL does nothing. Any thread.
void qrt_delivery_free(const qrt_delivery_t *delivery);

// The message. Borrows until the delivery is freed; may be sent on as it is. Any thread.
const qrt_message_t *qrt_delivery_message(const qrt_delivery_t *delivery);

// The message's id. Borrows until the delivery is freed. Any thread.
qrt_bytes_t qrt_delivery_id(const qrt_delivery_t *delivery);

// Which attempt at the message this is, from 1; 0 for NULL. Any thread.
uint32_t qrt_delivery_attempt(const qrt_delivery_t *delivery);

// The message's place in the order of the queue. Any thread.
uint64_t qrt_delivery_sequence(const qrt_delivery_t *delivery);

// When the message was sent, in milliseconds since 1970 UTC. Any thread.
int64_t qrt_delivery_enqueued_at(const qrt_delivery_t *delivery);

// When the lock ends, in milliseconds since 1970 UTC. Any thread.
int64_t qrt_delivery_locked_until(const qrt_delivery_t *delivery);

// 1 when the delivery was settled through its own functions, else 0. Any thread.
uint32_t qrt_delivery_is_settled(const qrt_delivery_t *delivery);

// Whether work on a delivery is to stop, and why: one of `QRT_CANCEL_...`. `QRT_CANCEL_NONE` where
// no lock is kept, and for NULL. Any thread.
uint32_t qrt_delivery_cancelled(const qrt_delivery_t *delivery);

// Ends when work on a delivery is to stop, as `qrt_delivery_cancelled` then tells; `QRT_PENDING`
// until then, and for ever where no lock is kept or the delivery is settled first: cancel the
// operation. Keeps the delivery until it has ended. Any thread.
qrt_status_t qrt_delivery_wait_cancelled(const qrt_delivery_t *delivery,
                                         qrt_completion_t done,
                                         qrt_op_t **op,
                                         qrt_error_t **error);

// Done; gone for good. `QRT_OK` or `QRT_PENDING`, as `qrt_op_take_unit` tells.
// `QRT_ERR_INVALID_RECEIPT` when it was settled before, `QRT_ERR_LOCK_LOST` or
// `QRT_ERR_SESSION_LOCK_LOST` when its lock ended. `flags`: `QRT_MAY_BLOCK` or 0. The delivery
// stays the caller's. Any thread.
qrt_status_t qrt_delivery_ack(const qrt_delivery_t *delivery,
                              uint32_t flags,
                              qrt_completion_t done,
                              qrt_op_t **op,
                              qrt_error_t **error);

// This attempt failed: the message comes back after `delay_ms` (-1: as the queue's retry policy
// says), or is dead-lettered when its budget is spent, with `reason` (may be empty) as the
// description. Otherwise as `qrt_delivery_ack`. Any thread.
qrt_status_t qrt_delivery_nack(const qrt_delivery_t *delivery,
                               qrt_bytes_t reason,
                               int64_t delay_ms,
                               uint32_t flags,
                               qrt_completion_t done,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Given back unblamed, after `delay_ms` (-1: at once): the attempt does not count. Otherwise as
// `qrt_delivery_ack`. Any thread.
qrt_status_t qrt_delivery_release(const qrt_delivery_t *delivery,
                                  int64_t delay_ms,
                                  uint32_t flags,
                                  qrt_completion_t done,
                                  qrt_op_t **op,
                                  qrt_error_t **error);

// To the dead-letter queue now. `QRT_ERR_FULL` when that has no room: the delivery stays as it
// was. Otherwise as `qrt_delivery_ack`. Any thread.
qrt_status_t qrt_delivery_dead_letter(const qrt_delivery_t *delivery,
                                      qrt_bytes_t reason,
                                      qrt_bytes_t description,
                                      uint32_t flags,
                                      qrt_completion_t done,
                                      qrt_op_t **op,
                                      qrt_error_t **error);

// Keeps the lock for `lock_ms` milliseconds from now; of a session's message, the session's lock.
// Otherwise as `qrt_delivery_ack`. Any thread.
qrt_status_t qrt_delivery_extend(const qrt_delivery_t *delivery,
                                 int64_t lock_ms,
                                 qrt_completion_t done,
                                 qrt_op_t **op,
                                 qrt_error_t **error);

// Makes an empty list. The caller owns it. Any thread.
qrt_status_t qrt_settlements_new(qrt_settlements_t **settlements,
                                 qrt_error_t **error);

// Adds: this delivery is done. Copies what it needs of the delivery. One thread at a time.
qrt_status_t qrt_settlements_ack(qrt_settlements_t *settlements,
                                 const qrt_delivery_t *delivery,
                                 qrt_error_t **error);

// Adds: this attempt failed, as `qrt_delivery_nack`. Copies. One thread at a time.
qrt_status_t qrt_settlements_nack(qrt_settlements_t *settlements,
                                  const qrt_delivery_t *delivery,
                                  qrt_bytes_t reason,
                                  int64_t delay_ms,
                                  qrt_error_t **error);

// Adds: given back unblamed, as `qrt_delivery_release`. Copies. One thread at a time.
qrt_status_t qrt_settlements_release(qrt_settlements_t *settlements,
                                     const qrt_delivery_t *delivery,
                                     int64_t delay_ms,
                                     qrt_error_t **error);

// Adds: to the dead-letter queue, as `qrt_delivery_dead_letter`. Copies. One thread at a time.
qrt_status_t qrt_settlements_dead_letter(qrt_settlements_t *settlements,
                                         const qrt_delivery_t *delivery,
                                         qrt_bytes_t reason,
                                         qrt_bytes_t description,
                                         qrt_error_t **error);

// How many are in the list; 0 for NULL. Any thread.
size_t qrt_settlements_count(const qrt_settlements_t *settlements);

// Empties the list, to be filled again. NULL does nothing. One thread at a time.
void qrt_settlements_clear(qrt_settlements_t *settlements);

// Frees a list. NULL does nothing. Any thread.
void qrt_settlements_free(qrt_settlements_t *settlements);

// Ends the deliveries of a list, all of this queue. `QRT_OK`: `*results` says what became of
// each, result i of entry i; the caller owns it. `QRT_PENDING`: `qrt_op_take_settle_results`.
// `flags`: `QRT_MAY_BLOCK` or 0. The list stays the caller's. Any thread.
qrt_status_t qrt_settle(qrt_queue_t *queue,
                        const qrt_settlements_t *settlements,
                        uint32_t flags,
                        qrt_completion_t done,
                        qrt_settle_results_t **results,
                        qrt_op_t **op,
                        qrt_error_t **error);

// How many results; 0 for NULL. Any thread.
size_t qrt_settle_results_count(const qrt_settle_results_t *results);

// `QRT_OK` when entry `index` was settled, or accepted, else why not; `QRT_ERR_INVALID_ARGUMENT` when there is
// no such result. Any thread.
qrt_status_t qrt_settle_results_status(const qrt_settle_results_t *results,
                                       size_t index);

// The error of entry `index`, or NULL. Borrows until the results are freed. Any thread.
const qrt_error_t *qrt_settle_results_error(const qrt_settle_results_t *results,
                                            size_t index);

// Frees results. NULL does nothing. Any thread.
void qrt_settle_results_free(qrt_settle_results_t *results);

// Keeps the locks of `count` deliveries of this queue for `lock_ms` milliseconds from now: result
// i belongs to delivery i. Otherwise as `qrt_settle`. Any thread.
qrt_status_t qrt_extend(qrt_queue_t *queue,
                        const qrt_delivery_t *const *deliveries,
                        size_t count,
                        int64_t lock_ms,
                        qrt_completion_t done,
                        qrt_settle_results_t **results,
                        qrt_op_t **op,
                        qrt_error_t **error);

// Takes the session of this id. `options` may be NULL. `QRT_OK`: `*session` is held by the
// caller, who owns it. `QRT_PENDING`: `qrt_op_take_session`. `QRT_ERR_SESSION_LOCKED` when
// somebody holds it. Any thread.
qrt_status_t qrt_session_accept(qrt_queue_t *queue,
                                qrt_bytes_t id,
                                const qrt_session_options_t *options,
                                qrt_completion_t done,
                                qrt_session_t **session,
                                qrt_op_t **op,
                                qrt_error_t **error);

// Takes whichever session has work. `options` may be NULL. `QRT_OK`: `*session` is held by the
// caller, who owns it, or NULL when none had work and the wait is 0. `QRT_PENDING`:
// `qrt_op_take_session`. Any thread.
qrt_status_t qrt_session_accept_next(qrt_queue_t *queue,
                                     const qrt_session_options_t *options,
                                     qrt_completion_t done,
                                     qrt_session_t **session,
                                     qrt_op_t **op,
                                     qrt_error_t **error);

// The id of a session; empty for NULL. Borrows until the session is freed. Any thread.
qrt_bytes_t qrt_session_id(const qrt_session_t *session);

// When the session's lock ends, in milliseconds since 1970 UTC; 0 for NULL. Any thread.
int64_t qrt_session_locked_until(const qrt_session_t *session);

// Receives messages of a session, in order. Otherwise as `qrt_queue_receive`.
// `QRT_ERR_SESSION_LOCK_LOST` once the lock has ended. Any thread.
qrt_status_t qrt_session_receive(qrt_session_t *session,
                                 const qrt_receive_options_t *options,
                                 qrt_completion_t done,
                                 qrt_batch_t **batch,
                                 qrt_op_t **op,
                                 qrt_error_t **error);

// Keeps a session, and all its deliveries, for `lock_ms` milliseconds from now; -1: for its lock
// time. Ends at once or pends, as `qrt_op_take_unit` tells. Any thread.
qrt_status_t qrt_session_renew(qrt_session_t *session,
                               int64_t lock_ms,
                               qrt_completion_t done,
                               qrt_op_t **op,
                               qrt_error_t **error);

// The bytes kept with a session, across holders. `QRT_OK`: `*state` has them, or is NULL when
// there are none; the caller owns it. `QRT_PENDING`: `qrt_op_take_buffer`. Any thread.
qrt_status_t qrt_session_state(qrt_session_t *session,
                               qrt_completion_t done,
                               qrt_buffer_t **state,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Keeps these bytes with a session; `state` NULL removes them. Copies. Ends at once or pends, as
// `qrt_op_take_unit` tells. Any thread.
qrt_status_t qrt_session_set_state(qrt_session_t *session,
                                   const qrt_bytes_t *state,
                                   qrt_completion_t done,
                                   qrt_op_t **op,
                                   qrt_error_t **error);

// Lets go of a session. What is not settled goes back to its place, its attempt used. Ends at
// once or pends, as `qrt_op_take_unit` tells. Free the handle as well. Any thread.
qrt_status_t qrt_session_close(qrt_session_t *session,
                               qrt_completion_t done,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Frees a session, and lets go of it in the background. NULL does nothing. Any thread.
void qrt_session_free(qrt_session_t *session);

// Begins to receive from a queue, by callback or to be asked. Locks are kept until a delivery is
// settled or its batch freed. The caller owns `*consumer`. When the call fails,
// no callback runs and `user_data` stays the caller's. Any thread.
qrt_status_t qrt_consumer_start(qrt_queue_t *queue,
                                const qrt_consumer_options_t *options,
                                qrt_consumer_t **consumer,
                                qrt_error_t **error);

// Begins to receive from a held session alone, its lock kept, as `qrt_consumer_start`. When that is
// lost, or the session closed, the consumer ends, and `qrt_consumer_next` fails with
// `QRT_ERR_SESSION_LOCK_LOST`. The session may be freed before it; it is let go when both are, or by
// `qrt_session_close`. The caller owns `*consumer`. Any thread.
qrt_status_t qrt_session_consume(qrt_session_t *session,
                                 const qrt_consumer_options_t *options,
                                 qrt_consumer_t **consumer,
                                 qrt_error_t **error);

// Asks for the next messages of a consumer without `on_batch`: as soon as one is there and a
// credit is free, with what else there is, up to `max`, or as `batch_size` and the options after it
// say, each a delivery whose attempt is charged
// now. `QRT_OK`: `*batch` has them, or is empty when the consumer has stopped, its client was
// closed, or `idle_ms` are over; the caller owns it. `QRT_PENDING`: `done` will run, and
// `qrt_op_take_batch` gives the batch. One that is cancelled, or that nobody takes the result of,
// gives its messages back unblamed. Any thread.
qrt_status_t qrt_consumer_next(qrt_consumer_t *consumer,
                               uint32_t max,
                               qrt_completion_t done,
                               qrt_batch_t **batch,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Lets a consumer hand over `messages` more. Any thread.
qrt_status_t qrt_consumer_grant(qrt_consumer_t *consumer,
                                uint32_t messages,
                                qrt_error_t **error);

// Stops a consumer: no new batch; ends when the last callback has returned and `user_data` is
// freed. Ends at once or pends, as `qrt_op_take_unit` tells. From a callback of the consumer
// itself it pends; do not wait for it there. Again does nothing more. Any thread.
qrt_status_t qrt_consumer_stop(qrt_consumer_t *consumer,
                               qrt_completion_t done,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Drains a consumer: takes no more in, gives back what was not handed over, waits for what is in
// hand until `deadline_ms` milliseconds have passed, then cancels that (`qrt_delivery_cancelled`)
// and gives it back too. `QRT_OK`: `*report` counts what became of each; the caller owns it.
// `QRT_PENDING`: `qrt_op_take_drain_report`. Callbacks end as with `qrt_consumer_stop`. Any thread.
qrt_status_t qrt_consumer_drain(qrt_consumer_t *consumer,
                                int64_t deadline_ms,
                                qrt_completion_t done,
                                qrt_drain_report_t **report,
                                qrt_op_t **op,
                                qrt_error_t **error);

// Ends when something has happened that is worth a look, since the last such call ended: work on a
// delivery in hand is to stop (`qrt_delivery_cancelled`), receiving fails or goes on, or what holds
// the consumer back has changed (`qrt_consumer_status`). So one wait is enough for all deliveries in hand. `QRT_ERR_CLOSED` once
// the consumer has stopped. One call at a time. Any thread.
qrt_status_t qrt_consumer_wait_changed(qrt_consumer_t *consumer,
                                       qrt_completion_t done,
                                       qrt_op_t **op,
                                       qrt_error_t **error);

// How a consumer goes, as JSON: `{"ready": true, "last_receive": milliseconds since 1970 UTC or
// null, "failure": {"kind": ..., "message": ..., "retryable": true} or null, "prefetched": 0,
// "in_hand": 0, "concurrency": how many may be in hand now, "sessions": 0, "paused": false, "over_memory": false, "breaker": "closed", "half_open" or "open",
// "open_until": milliseconds since 1970 UTC or null}`. The caller owns it. Any thread.
qrt_status_t qrt_consumer_status(const qrt_consumer_t *consumer,
                                 qrt_buffer_t **status,
                                 qrt_error_t **error);

// Receives nothing and hands nothing over until `qrt_consumer_resume`; what was fetched ahead goes
// back unblamed, in the background. What is in hand goes on, its locks kept. Again does nothing
// more. Any thread.
qrt_status_t qrt_consumer_pause(qrt_consumer_t *consumer,
                                qrt_error_t **error);

// Ends a pause. A breaker that is open, or memory that is over the runtime's limit, go on holding
// the consumer back. Without a pause it does nothing. Any thread.
qrt_status_t qrt_consumer_resume(qrt_consumer_t *consumer,
                                 qrt_error_t **error);

// Closes the breaker of a consumer by hand, and forgets what failed. Any thread.
qrt_status_t qrt_consumer_reset_breaker(qrt_consumer_t *consumer,
                                        qrt_error_t **error);

// Frees the caller's hold on a consumer and stops it in the background; what was not handed over
// goes back. Never waits, and may be called from its own callbacks. NULL does nothing. Any thread.
void qrt_consumer_free(qrt_consumer_t *consumer);

// How many were in hand and settled in time; 0 for NULL. Any thread.
uint64_t qrt_drain_report_finished(const qrt_drain_report_t *report);

// How many were given back with their attempts restored; 0 for NULL. Any thread.
uint64_t qrt_drain_report_released(const qrt_drain_report_t *report);

// How many were neither settled nor given back, and come back when their locks end; 0 for NULL.
// Any thread.
uint64_t qrt_drain_report_abandoned(const qrt_drain_report_t *report);

// Frees a report. NULL does nothing. Any thread.
void qrt_drain_report_free(qrt_drain_report_t *report);

// Makes a producer for a queue. The caller owns `*producer`. Any thread.
qrt_status_t qrt_producer_start(qrt_queue_t *queue,
                                const qrt_producer_options_t *options,
                                qrt_producer_t **producer,
                                qrt_error_t **error);

// Accepts a message; messages leave in the order of these calls. `QRT_PENDING`: it was accepted, or
// waits for room; `done` will run when its batch was sent, and `qrt_op_take_send_results` gives the
// one result; the caller owns it. Errors: it was not accepted; it can never be sent, or with the
// flag `QRT_NO_WAIT` there was no room (`QRT_ERR_FULL`). An operation that is cancelled before there was room sends
// nothing; afterwards the message is sent all the same. `flags`: `QRT_NO_WAIT` or 0. The message
// stays the caller's. Any thread.
qrt_status_t qrt_producer_send(qrt_producer_t *producer,
                               const qrt_message_t *message,
                               uint32_t flags,
                               qrt_completion_t done,
                               qrt_send_results_t **results,
                               qrt_op_t **op,
                               qrt_error_t **error);

// Sends what was accepted before at once, and ends when all of it has its result: at once or
// pending, as `qrt_op_take_unit` tells. `QRT_ERR_CLOSED` when some of it was given up. Any thread.
qrt_status_t qrt_producer_flush(qrt_producer_t *producer,
                                qrt_completion_t done,
                                qrt_op_t **op,
                                qrt_error_t **error);

// Closes a producer: accepts nothing more, sends what was accepted, and after `deadline_ms`
// milliseconds gives back what is left. `QRT_OK`: `*report` says what became of all that was ever
// accepted; the caller owns it. `QRT_PENDING`: `qrt_op_take_producer_report`. Any thread.
qrt_status_t qrt_producer_close(qrt_producer_t *producer,
                                int64_t deadline_ms,
                                qrt_completion_t done,
                                qrt_producer_report_t **report,
                                qrt_op_t **op,
                                qrt_error_t **error);

// Frees the caller's hold on a producer. What was accepted is still sent in the background, and its
// operations end with their results; `qrt_producer_close` waits for it. NULL does nothing. Any
// thread.
void qrt_producer_free(qrt_producer_t *producer);

// How many messages were stored; 0 for NULL. Any thread.
uint64_t qrt_producer_report_sent(const qrt_producer_report_t *report);

// How many were answered with an error; 0 for NULL. Any thread.
uint64_t qrt_producer_report_failed(const qrt_producer_report_t *report);

// How many were not answered by the deadline, and are given back here in their order; 0 for NULL.
// The batch that was on its way then may have been stored all the same. Any thread.
size_t qrt_producer_report_unsent_count(const qrt_producer_report_t *report);

// Unsent message `index`, or NULL when there is none. Borrows until the report is freed. Any thread.
const qrt_message_t *qrt_producer_report_unsent(const qrt_producer_report_t *report,
                                                size_t index);

// Frees a report. NULL does nothing. Any thread.
void qrt_producer_report_free(qrt_producer_report_t *report);

// Asks an operation to end. Its completion runs all the same, with `QRT_ERR_CANCELLED` or with
// the real result if that came first; messages that were received anyway go back unblamed.
// Asking again does nothing. Any thread.
qrt_status_t qrt_op_cancel(qrt_op_t *op,
                           qrt_error_t **error);

// Waits until an operation has ended: at most `timeout_ms` milliseconds, or for ever with -1.
// `QRT_OK`: it has ended, and its result can be taken. `QRT_ERR_TIMEOUT`: it goes on.
// `QRT_ERR_WOULD_DEADLOCK` on a thread of a runtime. Any other thread.
qrt_status_t qrt_op_wait(qrt_op_t *op,
                         int64_t timeout_ms,
                         qrt_error_t **error);

// Frees the caller's hold on an operation. One that still runs goes on by itself, its completion
// runs, and what nobody takes goes back. NULL does nothing. Any thread.
void qrt_op_free(qrt_op_t *op);

// Takes the outcome of an operation that has no result of its own.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed. Any thread.
qrt_status_t qrt_op_take_unit(qrt_op_t *op,
                              qrt_error_t **error);

// Takes the client of a `qrt_client_open`. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_client(qrt_op_t *op,
                                qrt_client_t **result,
                                qrt_error_t **error);

// Takes the messages of a receive. The caller owns the batch.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_batch(qrt_op_t *op,
                               qrt_batch_t **result,
                               qrt_error_t **error);

// Takes the results of a send. The caller owns them.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_send_results(qrt_op_t *op,
                                      qrt_send_results_t **result,
                                      qrt_error_t **error);

// Takes the results of a `qrt_settle`. The caller owns them.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_settle_results(qrt_op_t *op,
                                        qrt_settle_results_t **result,
                                        qrt_error_t **error);

// Takes the session of an accept; NULL when none had work. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_session(qrt_op_t *op,
                                 qrt_session_t **result,
                                 qrt_error_t **error);

// Takes the bytes of a `qrt_session_state`; NULL when there are none. The caller owns them.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_buffer(qrt_op_t *op,
                                qrt_buffer_t **result,
                                qrt_error_t **error);

// Takes the messages of a peek. The caller owns them.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_peeked(qrt_op_t *op,
                                qrt_peeked_t **result,
                                qrt_error_t **error);

// Takes the dead letters of a listing. The caller owns them.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_dead_letters(qrt_op_t *op,
                                      qrt_dead_letters_t **result,
                                      qrt_error_t **error);

// Takes the statistics of dead letters. The caller owns them.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_dead_letter_statistics(qrt_op_t *op,
                                                qrt_dead_letter_statistics_t **result,
                                                qrt_error_t **error);

// Takes the report of a redrive. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_redrive_report(qrt_op_t *op,
                                        qrt_redrive_report_t **result,
                                        qrt_error_t **error);

// Takes the report of a drain. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_drain_report(qrt_op_t *op,
                                      qrt_drain_report_t **result,
                                      qrt_error_t **error);

// Takes the number of dead letters that were purged.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_count(qrt_op_t *op,
                               uint64_t *result,
                               qrt_error_t **error);

// Takes the statistics of a queue. The caller owns them.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_statistics(qrt_op_t *op,
                                    qrt_statistics_t **result,
                                    qrt_error_t **error);

// Takes the write-behind of a `qrt_write_behind_open`. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_write_behind(qrt_op_t *op,
                                      qrt_write_behind_t **result,
                                      qrt_error_t **error);

// Takes a batch to be written; NULL when the write-behind has closed. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_write_batch(qrt_op_t *op,
                                     qrt_write_batch_t **result,
                                     qrt_error_t **error);

// Takes the report of a close of a write-behind. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_close_report(qrt_op_t *op,
                                      qrt_close_report_t **result,
                                      qrt_error_t **error);

// Takes the report of a close of a producer. The caller owns it.
//
// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
qrt_status_t qrt_op_take_producer_report(qrt_op_t *op,
                                         qrt_producer_report_t **result,
                                         qrt_error_t **error);

// Makes an event queue. The caller owns it. Any thread.
qrt_status_t qrt_events_new(qrt_runtime_t *runtime,
                            qrt_events_t **events,
                            qrt_error_t **error);

// A file descriptor that is readable while the queue is not empty (poll, epoll, select,
// `add_reader`); -1 where there is none. The queue owns it: do not read or close it. Any thread.
int32_t qrt_events_fd(const qrt_events_t *events);

// Sets the function that is told when the queue turns from empty to not empty, on the thread an
// operation ends on and with no lock held; NULL removes it. It must not throw, and should only
// wake its loop. `free(user_data)`, unless NULL, runs once, when the function is replaced or the
// queue freed and its last call has returned; also when this call fails. Any thread.
qrt_status_t qrt_events_set_wake(qrt_events_t *events,
                                 void (*wake)(void *user_data),
                                 void *user_data,
                                 void (*free)(void *user_data),
                                 qrt_error_t **error);

// Puts an operation into the queue under a tag once it has ended; at once, when it has ended
// already. The caller's handle stays the caller's, to cancel the operation by; free it as well.
// `qrt_events_drain` gives another one. An operation has one queue: `QRT_ERR_INVALID_ARGUMENT`
// when it has one already. Any thread.
qrt_status_t qrt_events_watch(qrt_events_t *events,
                              qrt_op_t *op,
                              uint64_t tag,
                              qrt_error_t **error);

// Moves up to `capacity` ended operations into `events_out`, oldest first; the caller owns them.
// Answers how many. One thread at a time.
size_t qrt_events_drain(qrt_events_t *events,
                        qrt_event_t *events_out,
                        size_t capacity);

// Frees an event queue with the operations in it; those that end later are freed when they do.
// NULL does nothing. Any thread.
void qrt_events_free(qrt_events_t *events);

// Messages to be received now; 0 for NULL. Any thread.
uint64_t qrt_statistics_ready(const qrt_statistics_t *statistics);

// Messages in somebody's hands; 0 for NULL. Any thread.
uint64_t qrt_statistics_in_flight(const qrt_statistics_t *statistics);

// Messages that appear later; 0 for NULL. Any thread.
uint64_t qrt_statistics_delayed(const qrt_statistics_t *statistics);

// All messages but the dead letters; 0 for NULL. Any thread.
uint64_t qrt_statistics_depth(const qrt_statistics_t *statistics);

// Dead letters; 0 for NULL. Any thread.
uint64_t qrt_statistics_dead(const qrt_statistics_t *statistics);

// Bytes of all messages but the dead letters; 0 for NULL. Any thread.
uint64_t qrt_statistics_bytes(const qrt_statistics_t *statistics);

// Sessions that have messages, a holder or a state; 0 for NULL. Any thread.
uint64_t qrt_statistics_sessions(const qrt_statistics_t *statistics);

// Age of the oldest message that is not a dead letter, in milliseconds; -1 without any. Any
// thread.
int64_t qrt_statistics_oldest_age_ms(const qrt_statistics_t *statistics);

// Frees statistics. NULL does nothing. Any thread.
void qrt_statistics_free(qrt_statistics_t *statistics);

// Lists up to `max` dead letters, oldest first, from after the number `after` on (0: from the
// first). The filter may be NULL. `QRT_OK`: `*letters` has them, the caller owns it.
// `QRT_PENDING`: `qrt_op_take_dead_letters`. Any thread.
qrt_status_t qrt_dead_letters_list(qrt_queue_t *queue,
                                   const qrt_dead_letter_filter_t *filter,
                                   uint64_t after,
                                   uint32_t max,
                                   qrt_completion_t done,
                                   qrt_dead_letters_t **letters,
                                   qrt_op_t **op,
                                   qrt_error_t **error);

// Sends dead letters back, oldest first: their budget is whole again, and the header
// `qrt-redrive-count` counts. Filter and options may be NULL. `QRT_OK`: `*report` says what was
// done, the caller owns it. `QRT_PENDING`: `qrt_op_take_redrive_report`. Stopped in the middle,
// nothing is lost. Any thread.
qrt_status_t qrt_dead_letters_redrive(qrt_queue_t *queue,
                                      const qrt_dead_letter_filter_t *filter,
                                      const qrt_redrive_options_t *options,
                                      qrt_completion_t done,
                                      qrt_redrive_report_t **report,
                                      qrt_op_t **op,
                                      qrt_error_t **error);

// Deletes dead letters for good. The filter may be NULL, which means all. `count` is written on
// `QRT_OK`; `QRT_PENDING`: `qrt_op_take_count`. Any thread.
qrt_status_t qrt_dead_letters_purge(qrt_queue_t *queue,
                                    const qrt_dead_letter_filter_t *filter,
                                    qrt_completion_t done,
                                    uint64_t *count,
                                    qrt_op_t **op,
                                    qrt_error_t **error);

// How many dead letters; 0 for NULL. Any thread.
size_t qrt_dead_letters_count(const qrt_dead_letters_t *letters);

// The message of dead letter `index`, or NULL when there is none. Borrows until the listing is
// freed. Any thread.
const qrt_message_t *qrt_dead_letters_message(const qrt_dead_letters_t *letters,
                                              size_t index);

// The id of dead letter `index`. Borrows until the listing is freed. Any thread.
qrt_bytes_t qrt_dead_letters_id(const qrt_dead_letters_t *letters,
                                size_t index);

// Why dead letter `index` was given up, in a word. Borrows until the listing is freed. Any thread.
qrt_bytes_t qrt_dead_letters_reason(const qrt_dead_letters_t *letters,
                                    size_t index);

// Why dead letter `index` was given up, at length, or empty. Borrows until the listing is freed.
// Any thread.
qrt_bytes_t qrt_dead_letters_description(const qrt_dead_letters_t *letters,
                                         size_t index);

// The queue dead letter `index` was sent to. Borrows until the listing is freed. Any thread.
qrt_bytes_t qrt_dead_letters_source(const qrt_dead_letters_t *letters,
                                    size_t index);

// Attempts made at dead letter `index`. Any thread.
uint32_t qrt_dead_letters_attempts(const qrt_dead_letters_t *letters,
                                   size_t index);

// The number of dead letter `index`: the cursor of a listing. Any thread.
uint64_t qrt_dead_letters_number(const qrt_dead_letters_t *letters,
                                 size_t index);

// When dead letter `index` was sent, in milliseconds since 1970 UTC. Any thread.
int64_t qrt_dead_letters_enqueued_at(const qrt_dead_letters_t *letters,
                                     size_t index);

// When dead letter `index` was first received, in milliseconds since 1970 UTC; -1 when it never
// was. Any thread.
int64_t qrt_dead_letters_first_delivered_at(const qrt_dead_letters_t *letters,
                                            size_t index);

// When dead letter `index` was given up, in milliseconds since 1970 UTC. Any thread.
int64_t qrt_dead_letters_dead_lettered_at(const qrt_dead_letters_t *letters,
                                          size_t index);

// Frees a listing. NULL does nothing. Any thread.
void qrt_dead_letters_free(qrt_dead_letters_t *letters);

// Counts dead letters by their reason, their source and their age. They are listed for it, 1,000 at
// a time and with their bodies, so its cost grows with them; it takes nothing. Those that die while
// it goes on may be left out. The filter may be NULL, which means all. `QRT_OK`: `*statistics` has
// them, the caller owns it. `QRT_PENDING`: `qrt_op_take_dead_letter_statistics`. Any thread.
qrt_status_t qrt_queue_dead_letter_statistics(qrt_queue_t *queue,
                                              const qrt_dead_letter_filter_t *filter,
                                              qrt_completion_t done,
                                              qrt_dead_letter_statistics_t **statistics,
                                              qrt_op_t **op,
                                              qrt_error_t **error);

// How many dead letters; 0 for NULL. Any thread.
uint64_t qrt_dead_letter_statistics_count(const qrt_dead_letter_statistics_t *statistics);

// Bytes of their bodies; 0 for NULL. Any thread.
uint64_t qrt_dead_letter_statistics_bytes(const qrt_dead_letter_statistics_t *statistics);

// When the first of them was given up, in milliseconds since 1970 UTC; -1 when there are none. Any
// thread.
int64_t qrt_dead_letter_statistics_oldest(const qrt_dead_letter_statistics_t *statistics);

// When the last of them was given up, in milliseconds since 1970 UTC; -1 when there are none. Any
// thread.
int64_t qrt_dead_letter_statistics_newest(const qrt_dead_letter_statistics_t *statistics);

// How many groups there are, `by` being `QRT_BY_REASON` or `QRT_BY_SOURCE`: the largest first, then
// by name. The first 1,000 names met, of 1 MiB together, have a group each; all others are in one
// named `(others)`. The providers there are list the dead letters of one queue, which is then the
// only source. 0 for NULL. Any thread.
size_t qrt_dead_letter_statistics_groups(const qrt_dead_letter_statistics_t *statistics,
                                         uint32_t by);

// The reason or the queue of group `index`, or empty. Borrows until the statistics are freed. Any
// thread.
qrt_bytes_t qrt_dead_letter_statistics_group_name(const qrt_dead_letter_statistics_t *statistics,
                                                  uint32_t by,
                                                  size_t index);

// How many dead letters are in group `index`. Any thread.
uint64_t qrt_dead_letter_statistics_group_count(const qrt_dead_letter_statistics_t *statistics,
                                                uint32_t by,
                                                size_t index);

// When the first of group `index` was given up, in milliseconds since 1970 UTC; -1 when there is no
// such group. Any thread.
int64_t qrt_dead_letter_statistics_group_oldest(const qrt_dead_letter_statistics_t *statistics,
                                                uint32_t by,
                                                size_t index);

// When the last of group `index` was given up, in milliseconds since 1970 UTC; -1 when there is no
// such group. Any thread.
int64_t qrt_dead_letter_statistics_group_newest(const qrt_dead_letter_statistics_t *statistics,
                                                uint32_t by,
                                                size_t index);

// How many groups by age there are: always five, of what was given up to a minute ago, an hour, a
// day, a week, and longer ago. 0 for NULL. Any thread.
size_t qrt_dead_letter_statistics_ages(const qrt_dead_letter_statistics_t *statistics);

// How long ago at most the dead letters of age group `index` were given up, in milliseconds, each
// longer ago than those of the group before; -1 for the last one, which has no bound. Any thread.
int64_t qrt_dead_letter_statistics_age_up_to_ms(const qrt_dead_letter_statistics_t *statistics,
                                                size_t index);

// How many dead letters are in age group `index`. Any thread.
uint64_t qrt_dead_letter_statistics_age_count(const qrt_dead_letter_statistics_t *statistics,
                                              size_t index);

// Frees statistics. NULL does nothing. Any thread.
void qrt_dead_letter_statistics_free(qrt_dead_letter_statistics_t *statistics);

// How many dead letters matched; 0 for NULL. Any thread.
uint64_t qrt_redrive_report_matched(const qrt_redrive_report_t *report);

// How many dead letters are back in the queue; 0 for NULL. Any thread.
uint64_t qrt_redrive_report_redriven(const qrt_redrive_report_t *report);

// The number of the last dead letter looked at: where to go on; 0 when there was none. Any
// thread.
uint64_t qrt_redrive_report_last(const qrt_redrive_report_t *report);

// How many dead letters could not be sent back and stay; 0 for NULL. Any thread.
size_t qrt_redrive_report_failed_count(const qrt_redrive_report_t *report);

// The id of failed dead letter `index`, or empty. Borrows until the report is freed. Any thread.
qrt_bytes_t qrt_redrive_report_failed_id(const qrt_redrive_report_t *report,
                                         size_t index);

// Why failed dead letter `index` could not be sent back, or empty. Borrows until the report is
// freed. Any thread.
qrt_bytes_t qrt_redrive_report_failed_reason(const qrt_redrive_report_t *report,
                                             size_t index);

// Frees a report. NULL does nothing. Any thread.
void qrt_redrive_report_free(qrt_redrive_report_t *report);

// Reads the whole log of the `file:` store in a folder and says what is there, as JSON: its
// `version`, `segment_bytes`, `segments` with their files, where the log ends (`end`) and is known
// to be on the disk (`flushed`), its `frames`, the `queues` with their `messages` and `dead`
// letters, the `damaged` parts (`from`, `to`), which a sound store has none of, and whether the
// `index` is of this run of the machine. Changes nothing, and takes no lock: a store in use is
// read up to what is there. Waits for the disk. The caller owns `*report`. `QRT_ERR_CORRUPT` when
// the folder holds no store, or one of another version; `QRT_ERR_UNSUPPORTED` where `file:` is
// not. Any thread.
qrt_status_t qrt_store_verify(qrt_bytes_t folder,
                              qrt_buffer_t **report,
                              qrt_error_t **error);

// Writes what the log of the `file:` store in a folder says, a record a line, as JSON. Bodies and
// the values of headers are left out. Changes nothing, and takes no lock. Waits for the disk;
// `write` runs on this thread, must not throw, and gets no more once it has answered anything but
// 0, which is `QRT_ERR_UNAVAILABLE`. Other errors as those of `qrt_store_verify`. Any thread.
qrt_status_t qrt_store_dump(qrt_bytes_t folder,
                            qrt_write_fn_t write,
                            void *user_data,
                            qrt_error_t **error);

// Opens a write-behind. `config` is options as JSON, such as `{"sink": "postgres://app@db/app",
// "table": "prices", "key": "item"}`. `sink` is NULL for a table, or the program's own. The table
// is looked at: `QRT_ERR_INVALID_CONFIG` says what does not fit.
//
// `QRT_OK`: `*write_behind` is there, the caller owns it. `QRT_PENDING`: `done` will run, and
// `qrt_op_take_write_behind` gives it. Takes the sink's `user_data`: its `free` runs also when the
// call or its operation fails. Copies its other inputs. Any thread.
qrt_status_t qrt_write_behind_open(qrt_runtime_t *runtime,
                                   qrt_bytes_t config,
                                   const qrt_sink_t *sink,
                                   qrt_completion_t done,
                                   qrt_write_behind_t **write_behind,
                                   qrt_op_t **op,
                                   qrt_error_t **error);

// Accepts an entry. `QRT_OK`: it is accepted, and durable if it went into the journal. `QRT_PENDING`:
// the buffer is full, or the journal's disk is waited for; `done` will run, and `qrt_op_take_unit`
// tells. One that is cancelled takes nothing in, unless it is on its way to the journal. `flags`:
// any of `QRT_NO_WAIT` and `QRT_MAY_BLOCK`. Copies the entry. Any thread.
qrt_status_t qrt_write_behind_enqueue(qrt_write_behind_t *write_behind,
                                      const qrt_entry_t *entry,
                                      uint32_t flags,
                                      qrt_completion_t done,
                                      qrt_op_t **op,
                                      qrt_error_t **error);

// Accepts `count` entries in their order, waiting for room. `QRT_OK`: `*results` says what became
// of each, result i of entry i; the caller owns it. `QRT_PENDING`: `qrt_op_take_settle_results`.
// One that is cancelled leaves out what was not taken in yet. `flags`: `QRT_MAY_BLOCK` or 0.
// Copies the entries. Any thread.
qrt_status_t qrt_write_behind_enqueue_many(qrt_write_behind_t *write_behind,
                                           const qrt_entry_t *entries,
                                           size_t count,
                                           uint32_t flags,
                                           qrt_completion_t done,
                                           qrt_settle_results_t **results,
                                           qrt_op_t **op,
                                           qrt_error_t **error);

// Asks for the next batch of a sink of the program without `on_batch`. `QRT_OK`: `*batch` is one
// to be finished, which the caller owns, or NULL once the write-behind has closed. `QRT_PENDING`:
// `done` will run, and `qrt_op_take_write_batch` gives it. Several may ask at once, as there are writers.
// One that is cancelled, or that nobody takes the result of, has its entries tried again. Any
// thread.
qrt_status_t qrt_write_behind_next(qrt_write_behind_t *write_behind,
                                   qrt_completion_t done,
                                   qrt_write_batch_t **batch,
                                   qrt_op_t **op,
                                   qrt_error_t **error);

// Writes everything that was accepted before this call, and ends when it is written or given up.
// As long as the sink is away, that is as long as it takes. Ends at once or pends, as
// `qrt_op_take_unit` tells. Any thread.
qrt_status_t qrt_write_behind_flush(qrt_write_behind_t *write_behind,
                                    qrt_completion_t done,
                                    qrt_op_t **op,
                                    qrt_error_t **error);

// Writes the messages of a queue, batch by batch, each acknowledged after the sink's commit: goes
// on until the write-behind is closed, or until it is cancelled, which stops the intake. Pends, as
// `qrt_op_take_unit` tells. Any thread.
qrt_status_t qrt_write_behind_feed(qrt_write_behind_t *write_behind,
                                   qrt_queue_t *queue,
                                   qrt_completion_t done,
                                   qrt_op_t **op,
                                   qrt_error_t **error);

// Accepts nothing more, writes what was accepted, and ends. What is not written after
// `deadline_ms` milliseconds is in the report, goes back to the queue that delivered it, or stays
// in the journal. `QRT_OK`: `*report` is there, the caller owns it. `QRT_PENDING`:
// `qrt_op_take_close_report`. A close that is cancelled can be called again; so can one that
// ended, for a report without entries. Any thread.
qrt_status_t qrt_write_behind_close(qrt_write_behind_t *write_behind,
                                    int64_t deadline_ms,
                                    qrt_completion_t done,
                                    qrt_close_report_t **report,
                                    qrt_op_t **op,
                                    qrt_error_t **error);

// Takes the entries that were given up and kept because there is no dead-letter queue; until then
// they count against the bounds. The caller owns `*rejected`. Any thread.
qrt_status_t qrt_write_behind_take_rejected(qrt_write_behind_t *write_behind,
                                            qrt_rejected_t **rejected,
                                            qrt_error_t **error);

// Counts of a write-behind, all of one moment. The caller owns `*metrics`. Any thread.
qrt_status_t qrt_write_behind_metrics(const qrt_write_behind_t *write_behind,
                                      qrt_write_behind_metrics_t **metrics,
                                      qrt_error_t **error);

// Whether writing goes on or pauses, one of `QRT_BREAKER_...`; `QRT_BREAKER_CLOSED` for NULL. Any
// thread.
uint32_t qrt_write_behind_breaker_state(const qrt_write_behind_t *write_behind);

// Frees the caller's hold on a write-behind. What was accepted is still written, in the
// background; `qrt_write_behind_close` waits for it. NULL does nothing. Any thread.
void qrt_write_behind_free(qrt_write_behind_t *write_behind);

// How many entries; 0 for NULL. Any thread.
size_t qrt_write_batch_count(const qrt_write_batch_t *batch);

// The body of entry `index`. Borrows until the batch is finished or freed. Any thread.
qrt_bytes_t qrt_write_batch_body(const qrt_write_batch_t *batch,
                                 size_t index);

// The key of entry `index`, empty for none. Borrows until the batch is finished or freed. Any
// thread.
qrt_bytes_t qrt_write_batch_key(const qrt_write_batch_t *batch,
                                size_t index);

// Says that entry `index` is not written, and why. `QRT_ERR_INVALID_MESSAGE`,
// `QRT_ERR_MESSAGE_TOO_LARGE`, `QRT_ERR_INVALID_ARGUMENT` and `QRT_ERR_PROVIDER`: it never will
// be, and is given up. Any other: it is tried again. Copies the text. Any thread.
qrt_status_t qrt_write_batch_refuse(qrt_write_batch_t *batch,
                                    size_t index,
                                    qrt_status_t status,
                                    qrt_bytes_t message,
                                    qrt_error_t **error);

// Finishes a batch, and takes it. `QRT_OK`: every entry is written that was not refused.
// Otherwise nothing is, or it may be written again: for a status that blames the entries, as in
// `qrt_write_batch_refuse`, the batch comes again in halves until the bad entry is alone and given
// up; for any other it comes again whole, after a while. Copies the text. When the call fails, the
// batch stays the caller's. Any thread.
qrt_status_t qrt_write_batch_finish(qrt_write_batch_t *batch,
                                    qrt_status_t status,
                                    qrt_bytes_t message,
                                    qrt_error_t **error);

// Frees a batch that was not finished: its entries are tried again. NULL does nothing. Any thread.
void qrt_write_batch_free(qrt_write_batch_t *batch);

// How many entries; 0 for NULL. Any thread.
size_t qrt_rejected_count(const qrt_rejected_t *rejected);

// The body of entry `index`. Borrows until its holder is freed. Any thread.
qrt_bytes_t qrt_rejected_body(const qrt_rejected_t *rejected,
                              size_t index);

// The key of entry `index`, empty for none. Borrows until its holder is freed. Any thread.
qrt_bytes_t qrt_rejected_key(const qrt_rejected_t *rejected,
                             size_t index);

// Why entry `index` was given up, in a word: the sink's own code, or the error's kind. Borrows
// until its holder is freed. Any thread.
qrt_bytes_t qrt_rejected_reason(const qrt_rejected_t *rejected,
                                size_t index);

// Why entry `index` was given up, at length. Borrows until its holder is freed. Any thread.
qrt_bytes_t qrt_rejected_description(const qrt_rejected_t *rejected,
                                     size_t index);

// How often entry `index` was tried; 0 when there is none. Any thread.
uint32_t qrt_rejected_attempts(const qrt_rejected_t *rejected,
                               size_t index);

// When entry `index` was accepted, in milliseconds since 1970 UTC; 0 when there is none. Any
// thread.
int64_t qrt_rejected_enqueued_at(const qrt_rejected_t *rejected,
                                 size_t index);

// Frees entries that were taken. NULL does nothing. Any thread.
void qrt_rejected_free(qrt_rejected_t *rejected);

// How many entries could not be written in time and are given back here, in the order of their
// coming; 0 for NULL. Any thread.
size_t qrt_close_report_unwritten_count(const qrt_close_report_t *report);

// The body of unwritten entry `index`. Borrows until the report is freed. Any thread.
qrt_bytes_t qrt_close_report_unwritten_body(const qrt_close_report_t *report,
                                            size_t index);

// The key of unwritten entry `index`, empty for none. Borrows until the report is freed. Any
// thread.
qrt_bytes_t qrt_close_report_unwritten_key(const qrt_close_report_t *report,
                                           size_t index);

// How many entries stay in the journal for the next start; 0 for NULL. Any thread.
uint64_t qrt_close_report_left_in_journal(const qrt_close_report_t *report);

// The entries that were given up and kept because there is no dead-letter queue; NULL for NULL.
// Borrows until the report is freed, and is not freed itself. Any thread.
const qrt_rejected_t *qrt_close_report_rejected(const qrt_close_report_t *report);

// Frees a report. NULL does nothing. Any thread.
void qrt_close_report_free(qrt_close_report_t *report);

// Entries that were accepted; 0 for NULL. Any thread.
uint64_t qrt_write_behind_metrics_enqueued(const qrt_write_behind_metrics_t *metrics);

// Entries that are in the sink, or for which a later one of their key is; 0 for NULL. Any thread.
uint64_t qrt_write_behind_metrics_persisted(const qrt_write_behind_metrics_t *metrics);

// Entries that were given up; 0 for NULL. Any thread.
uint64_t qrt_write_behind_metrics_failed(const qrt_write_behind_metrics_t *metrics);

// How often an entry was tried again; 0 for NULL. Any thread.
uint64_t qrt_write_behind_metrics_retries(const qrt_write_behind_metrics_t *metrics);

// Batches that the sink answered; 0 for NULL. Any thread.
uint64_t qrt_write_behind_metrics_batches(const qrt_write_behind_metrics_t *metrics);

// Entries that were accepted and are neither persisted nor failed; 0 for NULL. Any thread.
uint64_t qrt_write_behind_metrics_depth(const qrt_write_behind_metrics_t *metrics);

// When this was so, in milliseconds since 1970 UTC; 0 for NULL. Any thread.
int64_t qrt_write_behind_metrics_timestamp(const qrt_write_behind_metrics_t *metrics);

// Frees counts. NULL does nothing. Any thread.
void qrt_write_behind_metrics_free(qrt_write_behind_metrics_t *metrics);

// The bytes of a buffer; empty for NULL. Borrows until the buffer is freed. Any thread.
qrt_bytes_t qrt_buffer_bytes(const qrt_buffer_t *buffer);

// Frees a buffer. NULL does nothing. Any thread.
void qrt_buffer_free(qrt_buffer_t *buffer);

// The kind of an error; `QRT_OK` for NULL. Any thread.
qrt_status_t qrt_error_status(const qrt_error_t *error);

// The whole text: operation, queue, field, what happened and what to do. Borrows until the error
// is freed. Any thread.
qrt_bytes_t qrt_error_message(const qrt_error_t *error);

// The provider's own code, or empty. Borrows until the error is freed. Any thread.
qrt_bytes_t qrt_error_code(const qrt_error_t *error);

// The queue concerned, or empty. Borrows until the error is freed. Any thread.
qrt_bytes_t qrt_error_queue(const qrt_error_t *error);

// The operation that failed, or empty. Borrows until the error is freed. Any thread.
qrt_bytes_t qrt_error_operation(const qrt_error_t *error);

// The argument, option or field at fault, or empty. Borrows until the error is freed. Any thread.
qrt_bytes_t qrt_error_field(const qrt_error_t *error);

// The capability that is missing, or empty. Borrows for ever. Any thread.
qrt_bytes_t qrt_error_capability(const qrt_error_t *error);

// 1 when the same call may succeed later, else 0. Any thread.
uint32_t qrt_error_is_retryable(const qrt_error_t *error);

// When to try again at the earliest, in milliseconds from the failure; -1 when unknown. Any
// thread.
int64_t qrt_error_retry_after_ms(const qrt_error_t *error);

// Until when what stands in the way does, such as the lock of a session that somebody holds, in
// milliseconds since 1970 UTC; -1 when unknown. Any thread.
int64_t qrt_error_until(const qrt_error_t *error);

// Actual size and limit in bytes, for `QRT_ERR_MESSAGE_TOO_LARGE`; 0 otherwise. Either pointer
// may be NULL. Any thread.
void qrt_error_sizes(const qrt_error_t *error,
                     uint64_t *actual,
                     uint64_t *limit);

// The name of a status, such as `lock_lost`; `unknown` for a number that is none. Borrows for
// ever. Any thread.
qrt_bytes_t qrt_status_name(qrt_status_t status);

// Frees an error. NULL does nothing. Any thread.
void qrt_error_free(qrt_error_t *error);

// Sends the library's logs up to a level to a function, for the whole process, in place of the
// one before; NULL ends it. It runs on any thread, may not call into the library, and must not
// throw. Logs hold no bodies and no secrets. `QRT_ERR_ALREADY_EXISTS` when the process has a
// Rust logger of its own. Any thread.
qrt_status_t qrt_log_set(qrt_log_fn_t function,
                         void *user_data,
                         uint32_t level,
                         qrt_error_t **error);

// The version of the library, such as `0.1.0`. Borrows for ever. Any thread.
qrt_bytes_t qrt_version(void);

// The ABI version of the library: major * 65536 + minor. Any thread.
uint32_t qrt_abi_version(void);

// Checks that a program compiled with this header fits this library: pass `QRT_ABI_MAJOR` and
// `QRT_ABI_MINOR`. `QRT_ERR_UNSUPPORTED` says what to do. Any thread.
qrt_status_t qrt_check_abi(uint32_t major,
                           uint32_t minor,
                           qrt_error_t **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* QUEUE_RUNTIME_H */

/** The defaults of `qrt_runtime_options_t`. */
#define QRT_RUNTIME_OPTIONS_INIT { sizeof(qrt_runtime_options_t), { NULL, 0 }, 0 }
/** The defaults of `qrt_receive_options_t`. */
#define QRT_RECEIVE_OPTIONS_INIT { sizeof(qrt_receive_options_t), 1, 0, 10000, -1 }
/** The defaults of `qrt_session_options_t`. */
#define QRT_SESSION_OPTIONS_INIT { sizeof(qrt_session_options_t), 10000, -1 }
/** The defaults of `qrt_consumer_options_t`. */
#define QRT_CONSUMER_OPTIONS_INIT \
    { sizeof(qrt_consumer_options_t), 64, 64, 20000, -1, 600000, 64, 0, 67108864, \
      NULL, NULL, NULL, NULL, NULL, NULL, { NULL, 0 }, -1, { NULL, 0 }, NULL, 0, 0, 60000, -1, \
      0, 1, 4194304, 5, -1, 0, 0, 5000 }
/** The defaults of `qrt_producer_options_t`. */
#define QRT_PRODUCER_OPTIONS_INIT \
    { sizeof(qrt_producer_options_t), 100, 0, 4194304, 5, 10000, 67108864 }
/** The defaults of `qrt_dead_letter_filter_t`: all of them. */
#define QRT_DEAD_LETTER_FILTER_INIT \
    { sizeof(qrt_dead_letter_filter_t), NULL, 0, { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, \
      { NULL, 0 }, -1, -1 }
/** The defaults of `qrt_redrive_options_t`. */
#define QRT_REDRIVE_OPTIONS_INIT { sizeof(qrt_redrive_options_t), 0, 0, 0, 0 }
/** The defaults of `qrt_sink_t`: batches are asked for. */
#define QRT_SINK_INIT { sizeof(qrt_sink_t), NULL, NULL, NULL }
/** A completion that tells nobody. */
#define QRT_COMPLETION_NONE { NULL, NULL, NULL }
