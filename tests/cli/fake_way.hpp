// A way to a node of the test's making: what it answers to CONNECT is written down per target, on
// the loop of the command itself.
#pragma once

#include "cli/way.hpp"
#include "net/connect_call.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <sys/socket.h>

namespace rooster::cli {

/// What the node does with a call.
struct FakeTarget {
  std::vector<std::string> progress;
  Fault refused = Fault::None;
  std::string detail;
  bool resets = false;  ///< when the first bytes come
  bool is_silent = false;
};

class FakeWay final : public Way {
 public:
  explicit FakeWay(Loop& loop) : group_(loop) {}
  ~FakeWay() override {
    group_.interrupt_all(Fault::Interrupted);
    for (int i = 0; i < 1000 && group_.size() > 0; ++i) {
      group_.loop().run_for(std::chrono::milliseconds(5));
    }
  }

  std::map<std::string, FakeTarget> targets;
  std::string open_error;
  std::string lost_because;
  /// Makes a framed DNS response of a framed query; its bytes go out one by one.
  std::function<std::string(std::string query)> dns;
  std::atomic<int> wakes = 0;
  std::atomic<int> calls = 0;

  Task<> open(Waiter&, TimePoint) override {
    if (!open_error.empty()) co_return Error(Fault::UpstreamRefused, open_error);
    co_return {};
  }
  Task<std::unique_ptr<Stream>> dial_api(Waiter& waiter, TimePoint) override {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
      co_return Error(Fault::DescriptorsExhausted);
    }
    group_.spawn(node(Descriptor(ends[1])));
    co_return std::make_unique<Stream>(waiter.loop(), Descriptor(ends[0]));
  }
  Task<std::unique_ptr<Stream>> dial_dns(Waiter& waiter, TimePoint) override {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
      co_return Error(Fault::DescriptorsExhausted);
    }
    group_.spawn(name_server(Descriptor(ends[1])));
    co_return std::make_unique<Stream>(waiter.loop(), Descriptor(ends[0]));
  }
  std::string token() const override { return "secret"; }
  std::string describe() const override { return "a test"; }
  std::string why_lost() const override { return lost_because; }

 private:
  Task<> name_server(Descriptor descriptor) {
    Waiter waiter(group_);
    Stream stream(group_.loop(), std::move(descriptor));
    const auto query = co_await read(stream, waiter);
    for (const char c : dns(*query)) {
      stream.write({&c, 1});
      waiter.notify();
      co_await waiter.wait(kNever);
    }
    co_return {};
  }

  // Reads some bytes; "" at the end.
  static Task<std::string> read(Stream& stream, Waiter& waiter) {
    for (;;) {
      std::array<char, 16384> block{};
      const ReadResult got = stream.read(block);
      if (got.status == ReadResult::Status::Some) {
        co_return std::string(block.data(), got.bytes);
      }
      if (got.status != ReadResult::Status::Later) co_return std::string();
      if (co_await waiter.wait(kNever, stream.readable()) == Woke::Interrupted) {
        co_return std::string();
      }
    }
  }

  Task<> node(Descriptor descriptor) {
    Waiter waiter(group_);
    Stream stream(group_.loop(), std::move(descriptor));
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
      const auto more = co_await read(stream, waiter);
      if (more->empty()) co_return {};
      head += *more;
    }
    const auto call = net::parse_connect(head);
    if (!call || call->token != "secret") co_return {};
    const auto found = targets.find(call->target.to_string());
    if (found == targets.end()) {
      stream.write(net::encode_connect_refusal(Fault::NoRoute, "no app of this name"));
      co_return {};
    }
    const FakeTarget& target = found->second;
    ++(call->only_wake ? wakes : calls);
    for (const std::string& line : target.progress) stream.write(net::encode_progress(line));
    if (target.is_silent) {
      co_await waiter.wait(kNever, stream.gone());
      co_return {};
    }
    if (target.refused != Fault::None) {
      stream.write(net::encode_connect_refusal(target.refused, target.detail));
      co_return {};
    }
    stream.write(net::encode_connected(""));
    if (call->only_wake) co_return {};
    if (target.resets) {
      // A unix socket that is closed with bytes unread resets its peer.
      co_await waiter.wait(kNever, stream.readable());
      co_return {};
    }
    co_await echo(stream, waiter);
    co_return {};
  }

  // Gives everything back, and "bye" after the other side's end.
  static Task<> echo(Stream& stream, Waiter& waiter) {
    for (;;) {
      const auto bytes = co_await read(stream, waiter);
      if (bytes->empty()) break;
      stream.write(*bytes);
      co_await drain(stream, waiter, kNever, Fault::ClientLeft, Fault::ClientLeft);
    }
    stream.write("bye");
    co_return {};
  }

  TaskGroup group_;
};

}  // namespace rooster::cli
