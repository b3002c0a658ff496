#include "cli/ssh_console.hpp"

#include <algorithm>
#include <array>
#include <chrono>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;
using Status = ReadResult::Status;

// Well below what any middle box forgets a silent connection after, and the node's own minute.
constexpr auto kPing = 15s;
// By then the node has taken us for lost as well, and ended the command.
constexpr auto kSilence = 75s;
constexpr std::size_t kBlockBytes = 16 * 1024;

}  // namespace

void ConsoleSession::put(std::string_view frame) {
  if (!node_ended_ && !ends_.node.write(frame)) node_ended_ = true;
  waiter_.notify();
}

// True: something came.
bool ConsoleSession::read_node() {
  if (node_ended_ || ends_.output.has_pending() || ends_.errors.has_pending()) return false;
  std::array<char, kBlockBytes> block{};
  const ReadResult got = ends_.node.read(block);
  if (got.status == Status::Later) return false;
  if (got.status != Status::Some) {
    node_ended_ = true;
    return true;
  }
  heard_at_ = Clock::now();
  reader_.put({block.data(), got.bytes});
  return true;
}

bool ConsoleSession::read_input() {
  if (input_ended_ || node_ended_ || ends_.node.has_pending()) return false;
  std::array<char, kBlockBytes> block{};
  const ReadResult got = ends_.input.read(block);
  if (got.status == Status::Later) return false;
  if (got.status == Status::Some) {
    put(net::encode_exec(net::ExecKind::Stdin, {block.data(), got.bytes}));
    return true;
  }
  input_ended_ = true;
  put(net::encode_exec(net::ExecKind::StdinEof));
  return true;
}

// False: this was the last frame.
bool ConsoleSession::take(const net::ExecFrame& frame) {
  using enum net::ExecKind;
  switch (frame.kind) {
    case Stdout:
      ends_.output.write(frame.payload);
      return true;
    case Stderr:
      ends_.errors.write(frame.payload);
      return true;
    case Notice:
      if (notice_) notice_(frame.payload);
      return true;
    case Exit:
      if (const auto status = net::exec_exit_of(frame)) {
        status_ = static_cast<int>(std::min<std::uint32_t>(*status, 255));
      } else {
        error_ = "the node's last frame is broken";
      }
      return false;
    case Error:
      error_ = frame.payload.empty() ? "the node said no" : frame.payload;
      return false;
    case Stdin:
    case StdinEof:
    case Resize:
    case Signal:
    case Ping:
      return true;
  }
  return true;
}

Task<> ConsoleSession::wait() {
  Interest a;
  Interest b;
  Stream* const slow = ends_.output.has_pending()   ? &ends_.output
                       : ends_.errors.has_pending() ? &ends_.errors
                                                    : nullptr;
  a = {&ends_.node.pollable(), 0};
  if (ends_.node.has_pending()) a.bits |= Pollable::kWritable;
  if (slow != nullptr) {
    b = slow->writable();
  } else {
    if (!node_ended_) a.bits |= Pollable::kReadable;
    if (!input_ended_ && !ends_.node.has_pending()) b = ends_.input.readable();
  }
  const Woke woke = co_await waiter_.wait(next_ping_, a, b);
  if (woke == Woke::Interrupted) co_return rooster::Error(waiter_.interrupted_by());
  if (Clock::now() - heard_at_ > kSilence && slow == nullptr) {
    error_ = "the node has not answered for 75 s";
    node_ended_ = true;
  } else if (woke == Woke::Deadline) {
    next_ping_ = Clock::now() + kPing;
    put(net::encode_exec(net::ExecKind::Ping));
  }
  co_return {};
}

Task<int> ConsoleSession::run(std::string first) {
  reader_.put(first);
  heard_at_ = Clock::now();
  next_ping_ = heard_at_ + kPing;
  bool is_over = false;
  for (;;) {
    for (Stream* stream : {&ends_.node, &ends_.output, &ends_.errors}) {
      if (stream->has_pending() && stream->pollable().is(Pollable::kWritable)) stream->flush();
    }
    while (!is_over) {
      const auto frame = reader_.next();
      if (!frame) break;
      is_over = !take(*frame);
    }
    if (reader_.is_broken() && !is_over) {
      error_ = "what answers there does not speak " + std::string(net::kExecProtocol);
      is_over = true;
    }
    const bool is_written = !ends_.output.has_pending() && !ends_.errors.has_pending();
    if (is_over && is_written) break;
    if (ends_.output.is_broken()) break;
    if (!is_over) {
      const bool moved = read_node();
      const bool typed = read_input();
      if (moved || typed) continue;
      if (node_ended_ && is_written) break;
    }
    if (const auto waited = co_await wait(); !waited) co_return waited.error();
  }
  if (status_) co_return *status_;
  if (ends_.output.is_broken()) co_return 141;  // as a program whose reader has gone: 128 + SIGPIPE
  co_return rooster::Error(Fault::UpstreamReset,
                           error_.empty() ? "the connection to the machine was lost" : error_);
}

}  // namespace rooster::cli
