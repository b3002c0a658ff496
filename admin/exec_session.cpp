#include "admin/exec_session.hpp"

#include <algorithm>
#include <array>
#include <csignal>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

namespace rooster::admin {
namespace {

using Status = ReadResult::Status;

constexpr std::size_t kBlockBytes = 16 * 1024;
constexpr std::size_t kInputBytes = 256 * 1024;  // for a command that does not read; then we don't
constexpr auto kReap = std::chrono::seconds(2);
constexpr int kPiecesPerTurn = 16;  // then others have their turn
constexpr std::string_view kEndOfTransmission = "\x04";

// Signals that a person may send; nothing that only the node decides on.
bool is_allowed(int number) {
  constexpr std::array<int, 9> kAllowed{SIGHUP,  SIGINT,  SIGQUIT, SIGKILL, SIGUSR1,
                                        SIGUSR2, SIGTERM, SIGCONT, SIGTSTP};
  return std::ranges::find(kAllowed, number) != kAllowed.end();
}

}  // namespace

ExecSession::ExecSession(Stream& client, ExecProcess& process, bool has_terminal, Waiter& waiter,
                         ExecTimes times)
    : loop_(waiter.loop()),
      client_(client),
      process_(process),
      has_terminal_(has_terminal),
      waiter_(waiter),
      times_(times),
      pumps_(loop_),
      heard_at_(Clock::now()),
      last_output_at_(heard_at_) {
  ExecProcess::Ends ends = process.take_ends();
  if (has_terminal) {
    // One descriptor for each direction: each has one coroutine that waits for it.
    const int again = ::fcntl(ends.input.get(), F_DUPFD_CLOEXEC, 0);
    ends.output = Descriptor(again);
    errors_ended_ = true;
  }
  input_ = std::make_unique<PipeEnd>(loop_, std::move(ends.input));
  output_ = std::make_unique<PipeEnd>(loop_, std::move(ends.output));
  if (!has_terminal) errors_ = std::make_unique<PipeEnd>(loop_, std::move(ends.errors));
}

// Runs until `from` has ended; what nobody wants any more is read and dropped.
Task<> ExecSession::pump(PipeEnd& from, net::ExecKind kind, bool& ended) {
  Waiter waiter(pumps_);
  std::array<char, kBlockBytes> block{};
  int pieces = 0;
  for (;;) {
    if (waiter.is_interrupted()) break;
    if (!end_.client_left && client_.has_pending()) {
      if (co_await waiter.wait(kNever) == Woke::Interrupted) break;
      continue;
    }
    const ReadResult got = from.read(block);
    if (got.status == Status::Some) {
      last_output_at_ = Clock::now();
      end_.bytes_out += got.bytes;
      if (!end_.client_left) {
        client_.write(net::encode_exec(kind, {block.data(), got.bytes}));
        if (client_.has_pending() || client_.is_broken()) waiter_.notify();
      }
      if (++pieces % kPiecesPerTurn == 0) {
        waiter.notify();
        if (co_await waiter.wait(kNever) == Woke::Interrupted) break;
      }
      continue;
    }
    if (got.status != Status::Later) break;
    if (co_await waiter.wait(kNever, from.readable()) == Woke::Interrupted) break;
  }
  ended = true;
  waiter_.notify();
  co_return {};
}

// True: something came.
bool ExecSession::read_client() {
  if (end_.client_left || input_->pending_bytes() > kInputBytes) return false;
  std::array<char, kBlockBytes> block{};
  const ReadResult got = client_.read(block);
  if (got.status == Status::Later) return false;
  if (got.status != Status::Some) {
    lose_client();
    return true;
  }
  heard_at_ = Clock::now();
  reader_.put({block.data(), got.bytes});
  return true;
}

void ExecSession::take(const net::ExecFrame& frame) {
  using enum net::ExecKind;
  switch (frame.kind) {
    case Stdin:
      end_.bytes_in += frame.payload.size();
      if (!input_is_ending_) input_->write(frame.payload);
      return;
    case StdinEof:
      end_input();
      return;
    case Resize:
      if (const auto size = net::exec_resize_of(frame); size && has_terminal_) {
        const winsize window{.ws_row = size->rows, .ws_col = size->columns};
        ::ioctl(output_->fd(), TIOCSWINSZ, &window);
      }
      return;
    case Signal:
      if (const auto number = net::exec_signal_of(frame); number && is_allowed(*number)) {
        process_.signal(*number);
      }
      return;
    case Ping:
      if (!client_.has_pending()) client_.write(net::encode_exec(Ping));
      return;
    case Stdout:
    case Stderr:
    case Exit:
    case Error:
    case Notice:
      return;
  }
}

void ExecSession::end_input() {
  if (input_is_ending_) return;
  input_is_ending_ = true;
  if (has_terminal_) {
    input_->write(kEndOfTransmission);
  } else if (!input_->has_pending()) {
    input_->close();
  }
}

void ExecSession::lose_client() {
  if (end_.client_left) return;
  end_.client_left = true;
  hung_up_at_ = Clock::now();
  if (!process_.status()) process_.signal(SIGHUP);
  input_is_ending_ = true;
  input_->close();
  pumps_.notify_all();
}

TimePoint ExecSession::deadline() const {
  if (ended_at_ != kNever) return std::max(ended_at_, last_output_at_) + times_.last_output;
  if (was_killed_) return hung_up_at_ + 2 * times_.hangup;
  if (end_.client_left) return hung_up_at_ + times_.hangup;
  return heard_at_ + times_.client_silence;
}

Task<> ExecSession::end_pumps() {
  waiter_.calm();
  pumps_.interrupt_all(Fault::Interrupted);
  // Until the group has said so: its word comes at the end of a turn, and must find us.
  bool is_empty = false;
  pumps_.when_empty([this, &is_empty] {
    is_empty = true;
    waiter_.notify();
  });
  while (!is_empty) co_await waiter_.wait(kNever);
  co_return {};
}

Task<ExecEnd> ExecSession::run(std::string first) {
  reader_.put(first);
  process_.on_end([this] { waiter_.notify(); });
  pumps_.spawn(pump(*output_, net::ExecKind::Stdout, output_ended_));
  if (errors_) pumps_.spawn(pump(*errors_, net::ExecKind::Stderr, errors_ended_));
  for (;;) {
    if (client_.has_pending()) {
      client_.flush();
      if (!client_.has_pending()) pumps_.notify_all();
    }
    if (client_.is_broken()) lose_client();
    while (auto frame = reader_.next()) take(*frame);
    if (reader_.is_broken()) lose_client();
    if (input_->has_pending()) input_->flush();
    const bool was_all = input_is_ending_ && !input_->has_pending();
    if (was_all && !has_terminal_) input_->close();
    if (ended_at_ == kNever && process_.status()) ended_at_ = Clock::now();
    if (ended_at_ != kNever && is_drained()) break;
    if (read_client()) continue;

    Interest from_client{&client_.pollable(), Pollable::kPeerClosed | Pollable::kBroken};
    if (client_.has_pending()) from_client.bits |= Pollable::kWritable;
    if (input_->pending_bytes() <= kInputBytes) {
      from_client.bits |= Pollable::kReadable;
    } else if (client_.pollable().is(from_client.bits)) {
      lose_client();  // a client ends its bytes only when it goes
    }
    if (end_.client_left) from_client = {};
    const Interest to_command = input_->has_pending() ? input_->writable() : Interest{};
    const Woke woke = co_await waiter_.wait(deadline(), from_client, to_command);
    if (woke == Woke::Interrupted) {
      // A node that stops stops the machine as well; whose right has ended ends at once.
      process_.signal(waiter_.interrupted_by() == Fault::Draining ? SIGHUP : SIGKILL);
      break;
    }
    if (woke != Woke::Deadline || Clock::now() < deadline()) continue;
    if (ended_at_ != kNever) {
      if (end_.client_left || !client_.has_pending()) break;
      last_output_at_ = Clock::now();  // a slow client gets what there is
    } else if (was_killed_) {
      break;  // not even SIGKILL ends it: it hangs in the kernel
    } else if (end_.client_left) {
      was_killed_ = true;
      process_.signal(SIGKILL);
    } else {
      lose_client();
    }
  }
  const bool is_interrupted = waiter_.is_interrupted();
  const bool was_killed = is_interrupted && waiter_.interrupted_by() != Fault::Draining;
  co_await end_pumps();
  const TimePoint until = Clock::now() + kReap;
  while (was_killed && !process_.status() && Clock::now() < until) co_await waiter_.wait(until);
  end_.status = process_.status();
  process_.on_end([] {});
  if (end_.status && !end_.client_left && !is_interrupted) {
    client_.write(net::encode_exec_exit(*end_.status));
    co_await drain(client_, waiter_, Clock::now() + times_.client_silence, Fault::ClientLeft,
                   Fault::ClientLeft);
  }
  co_return end_;
}

}  // namespace rooster::admin
