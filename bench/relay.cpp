// bench_relay <listen port> <port> <milliseconds> <loss per mille>: a UDP relay on loopback that
// keeps every datagram for some time each way and loses some of the large ones. What netem would do
// where the kernel has none. Runs until it is killed.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBufferBytes = 16 * 1024 * 1024;
constexpr int kDatagramsPerTurn = 256;
constexpr std::size_t kLarge = 300;  // handshakes pass: their loss is another test
constexpr std::size_t kMaxKept = 65'536;

struct Kept {
  Clock::time_point due;
  std::vector<char> bytes;
};

int open_socket() {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  for (const int name : {SO_RCVBUF, SO_SNDBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE}) {
    ::setsockopt(socket, SOL_SOCKET, name, &kBufferBytes, sizeof kBufferBytes);
  }
  return socket;
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

class Relay {
 public:
  Relay(int listen_port, int port, std::chrono::microseconds delay, int loss)
      : inner_(open_socket()), outer_(open_socket()), delay_(delay), loss_(loss) {
    const sockaddr_in here = loopback(listen_port);
    const sockaddr_in there = loopback(port);
    if (::bind(inner_, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
        ::connect(outer_, reinterpret_cast<const sockaddr*>(&there), sizeof there) != 0) {
      std::perror("bench_relay");
      std::exit(1);
    }
  }

  [[noreturn]] void run() {
    for (;;) {
      wait();
      take(inner_, forth_);
      take(outer_, back_);
      pass();
    }
  }

 private:
  // Until something comes or is due.
  void wait() {
    Clock::time_point due = Clock::now() + std::chrono::seconds(1);
    for (const auto* queue : {&forth_, &back_}) {
      if (!queue->empty()) due = std::min(due, queue->front().due);
    }
    const auto left = std::max(due - Clock::now(), Clock::duration::zero());
    const timespec time{0, std::min<long>(std::chrono::nanoseconds(left).count(), 999'999'999)};
    std::array<pollfd, 2> sockets = {{{inner_, POLLIN, 0}, {outer_, POLLIN, 0}}};
    ::ppoll(sockets.data(), sockets.size(), &time, nullptr);
  }

  void take(int socket, std::deque<Kept>& queue) {
    std::array<char, 65'536> bytes;
    const Clock::time_point due = Clock::now() + delay_;
    for (int i = 0; i < kDatagramsPerTurn; ++i) {
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t got = ::recvfrom(socket, bytes.data(), bytes.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &length);
      if (got < 0) return;
      if (socket == inner_) client_ = from;
      const auto size = static_cast<std::size_t>(got);
      if (queue.size() >= kMaxKept || (size > kLarge && chance_(random_) < loss_)) continue;
      queue.push_back({due, {bytes.begin(), bytes.begin() + got}});
    }
  }

  void pass() {
    const Clock::time_point now = Clock::now();
    for (; !forth_.empty() && forth_.front().due <= now; forth_.pop_front()) {
      (void)!::send(outer_, forth_.front().bytes.data(), forth_.front().bytes.size(), 0);
    }
    for (; !back_.empty() && back_.front().due <= now; back_.pop_front()) {
      (void)!::sendto(inner_, back_.front().bytes.data(), back_.front().bytes.size(), 0,
                      reinterpret_cast<const sockaddr*>(&client_), sizeof client_);
    }
  }

  int inner_;
  int outer_;
  std::chrono::microseconds delay_;
  int loss_;
  sockaddr_in client_{};
  std::deque<Kept> forth_, back_;
  std::mt19937 random_{1};  // the same losses in each run
  std::uniform_int_distribution<int> chance_{0, 999};
};

}  // namespace

int main(int count, char** words) {
  if (count != 5) {
    std::fprintf(stderr, "usage: bench_relay <listen port> <port> <milliseconds> <per mille>\n");
    return 2;
  }
  const auto delay = static_cast<std::int64_t>(std::atof(words[3]) * 1000);
  Relay(std::atoi(words[1]), std::atoi(words[2]), std::chrono::microseconds(delay),
        std::atoi(words[4]))
      .run();
}
