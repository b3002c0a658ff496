#include "cli/standard_streams.hpp"

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rooster::cli {
namespace {

constexpr std::size_t kBlockBytes = 32 * 1024;

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN) {  // somebody else's O_NONBLOCK on a shared terminal
      pollfd wanted{fd, POLLOUT, 0};
      ::poll(&wanted, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

void carry(int from, int to, int stop, int owned) {
  std::array<char, kBlockBytes> block{};
  std::array<pollfd, 2> both{{{from, POLLIN, 0}, {stop, POLLIN, 0}}};
  for (;;) {
    if (::poll(both.data(), both.size(), -1) < 0 && errno != EINTR) break;
    if (both[1].revents != 0) break;
    if (both[0].revents == 0) continue;
    const ssize_t got = ::read(from, block.data(), block.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0 || !write_all(to, {block.data(), static_cast<std::size_t>(got)})) break;
  }
  // The loop's side sees the end, or that nobody takes its bytes any more.
  ::shutdown(owned, SHUT_RDWR);
}

// The loop's end (non-blocking) and the thread's (blocking).
std::pair<Descriptor, Descriptor> make_pair() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return {};
  int on = 1;
  ::ioctl(ends[0], FIONBIO, &on);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace

CarryThread::CarryThread(int from, int to, Descriptor owned)
    : stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      owned_(std::move(owned)),
      thread_(carry, from, to, stop_.get(), owned_.get()) {}

CarryThread::~CarryThread() {
  const std::uint64_t one = 1;
  // An eventfd that was never written takes this; there is nothing to do if it did not.
  [[maybe_unused]] const ssize_t told = ::write(stop_.get(), &one, sizeof one);
  ::shutdown(owned_.get(), SHUT_RDWR);
  join();
}

void CarryThread::join() {
  if (thread_.joinable()) thread_.join();
}

StandardStreams::StandardStreams(Loop& loop) {
  auto [in_near, in_far] = make_pair();
  auto [out_near, out_far] = make_pair();
  auto [err_near, err_far] = make_pair();
  input_ = std::make_unique<Stream>(loop, std::move(in_near));
  output_ = std::make_unique<Stream>(loop, std::move(out_near));
  errors_ = std::make_unique<Stream>(loop, std::move(err_near));
  const int in = in_far.get();
  const int out = out_far.get();
  const int err = err_far.get();
  from_input_ = std::make_unique<CarryThread>(STDIN_FILENO, in, std::move(in_far));
  to_output_ = std::make_unique<CarryThread>(out, STDOUT_FILENO, std::move(out_far));
  to_errors_ = std::make_unique<CarryThread>(err, STDERR_FILENO, std::move(err_far));
}

void StandardStreams::finish() {
  output_->shutdown_write();
  errors_->shutdown_write();
  to_output_->join();
  to_errors_->join();
}

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  if (::tcgetattr(fd, &before_) != 0) return;
  termios raw = before_;
  ::cfmakeraw(&raw);
  is_raw_ = ::tcsetattr(fd, TCSADRAIN, &raw) == 0;
}

RawTerminal::~RawTerminal() {
  if (is_raw_) ::tcsetattr(fd_, TCSADRAIN, &before_);
}

std::optional<TerminalSize> terminal_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
    return std::nullopt;
  }
  return TerminalSize{size.ws_row, size.ws_col};
}

}  // namespace rooster::cli
