// Prices that change often, written behind: 10,000 changes of 100 items in batches, into the table
// `prices` of the database that the URL names, and into a function of the program. One price that
// the table refuses is found and given back. At the end everything must add up, or the program
// fails.
//
//     write_behind sqlite:prices.db

#include <atomic>
#include <chrono>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "queue_runtime.hpp"

using namespace std::chrono_literals;
namespace qr = queue_runtime;

namespace {

constexpr std::uint64_t changes = 10'000, items = 100;

std::string price(const std::string &item, std::uint64_t cents) {
    return R"({"item": ")" + item + R"(", "cents": )" + std::to_string(cents) + "}";
}

/// A price that no item may have.
const std::string free_of_charge = price("free", 0);

/// The number after the last colon.
std::uint64_t cents_of(qr::Bytes price) {
    const std::string_view text = price.text();
    return std::stoull(std::string(text.substr(text.rfind(':') + 1)));
}

void run(std::string_view sink, const qr::WriteBehind &prices) {
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&] {
        const std::chrono::duration<double, std::milli> passed =
            std::chrono::steady_clock::now() - start;
        return passed.count();
    };
    for (std::uint64_t n = 0; n < changes; n++)
        prices.enqueue(price("item " + std::to_string(n % items), n + 1)).get();
    prices.enqueue(free_of_charge).get();
    const double accepted = elapsed();
    prices.flush().get();
    const double written = elapsed();
    const auto rejected = prices.take_rejected().value();
    const qr::CloseReport report = prices.close(10s).get();
    const qr::WriteBehindMetrics metrics = prices.metrics().value();
    std::cout << std::fixed << std::setprecision(1) << std::left << std::setw(9) << sink
              << std::right << std::setw(7) << accepted << " ms" << std::setw(8) << written << " ms"
              << std::setw(9) << metrics.batches << std::setw(11) << metrics.persisted
              << std::setw(8) << metrics.failed << "\n";
    if (rejected.size() != 1 || rejected[0].body != free_of_charge ||
        metrics.persisted != changes || !report.unwritten.empty())
        throw std::runtime_error("not everything was written");
}

}  // namespace

int main(int argc, char **argv) try {
    if (argc != 2)
        throw std::runtime_error(
            "usage: write_behind sqlite:FILE or postgres://USER@HOST/DATABASE");
    const std::string url = argv[1];
    const qr::Runtime runtime = qr::Runtime::make().value();
    std::cout << "sink       accepted    written  batches  persisted  failed\n";

    const std::string into_table =
        R"({"sink": ")" + url + R"(", "table": "prices", "key": "item"})";
    run(url.substr(0, url.find(':')), runtime.write_behind(into_table).get());

    // Into the program: entries come in batches, and each may be refused.
    std::atomic<std::uint64_t> total{0};
    const auto sink = [&total](qr::WriteBatch batch) {
        for (std::size_t i = 0; i < batch.size(); i++) {
            const std::uint64_t cents = cents_of(batch[i].body);
            total += cents;
            if (cents == 0)
                (void)batch.refuse(i, QRT_ERR_INVALID_MESSAGE, "has no price");
        }
        (void)std::move(batch).finish();
    };
    run("program", runtime.write_behind("", sink).get());
    if (total != changes * (changes + 1) / 2)
        throw std::runtime_error("the prices do not add up");
} catch (const std::exception &error) {
    std::cerr << error.what() << "\n";
    return 1;
}
