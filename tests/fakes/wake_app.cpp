// wake_app: an app to be woken. One thread; it stamps and counts what happens to it in a file of
// its own, so that tests need not believe the proxy.
//   --port=N              listen there (default: $PORT)          --backlog=N
//   --log=FILE            appends: start PID | listen NS | bytes NS | request TARGET BODY_BYTES
//   SHA256 | signal N | exit
//   --gate=FILE           listens only once FILE exists           --delay-ms=N  starts slowly
//   --never               runs and never listens                  --crash=CODE  exits with CODE
//   instead of listening
//   --exit-after=N        exits with 0 when N requests are answered
//   --stop-ms=N           takes that long to stop after a signal    --stop-gate=FILE  and until
//   FILE exists
//   --ignore-signals      notes signals and goes on
//   --close               one request per connection              --answer-ms=N  answers that late,
//   one by one
#include "bench/http_text.hpp"
#include "bench/options.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <unordered_map>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rooster::fakes {
namespace {

using bench::Options;

constexpr std::size_t kMaxHead = 64 * 1024;

std::uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

void pause_ms(std::uint64_t ms) {
  const timespec time{.tv_sec = static_cast<time_t>(ms / 1000),
                      .tv_nsec = static_cast<long>(ms % 1000 * 1'000'000)};
  ::nanosleep(&time, nullptr);
}

class Log {
 public:
  explicit Log(const std::string& path)
      : fd_(path.empty() ? -1
                         : ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {}
  void line(const std::string& text) const {
    if (fd_ < 0) return;
    const std::string whole = text + "\n";
    if (::write(fd_, whole.data(), whole.size()) < 0) std::perror("log");
  }

 private:
  int fd_;
};

std::string hex_digest(EVP_MD_CTX* digest) {
  std::array<unsigned char, 32> raw{};
  ::EVP_DigestFinal_ex(digest, raw.data(), nullptr);
  std::string text;
  for (const unsigned char byte : raw) {
    text.push_back("0123456789abcdef"[byte >> 4U]);
    text.push_back("0123456789abcdef"[byte & 15U]);
  }
  return text;
}

/// A connection: one request after another, bodies by Content-Length or chunked.
class Connection {
 public:
  Connection(int fd, const Log& log, const Options& options, std::uint64_t& answered)
      : log_(log), options_(options), answered_(answered), fd_(fd), digest_(::EVP_MD_CTX_new()) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    ::EVP_MD_CTX_free(digest_);
    ::close(fd_);
  }

  /// Reads and answers until it would block; false: close it.
  bool advance();

 private:
  bool take(std::string_view bytes);
  bool take_head(std::string_view& bytes);
  bool take_chunk_line(std::string_view& bytes);
  bool finish();

  const Log& log_;
  const Options& options_;
  std::uint64_t& answered_;
  int fd_;
  EVP_MD_CTX* digest_;
  std::string head_, line_, target_;
  enum class Part : std::uint8_t { Head, Body, ChunkSize, ChunkBody, ChunkEnd, Trailers };
  Part part_ = Part::Head;
  std::uint64_t left_ = 0, body_bytes_ = 0;
  bool seen_bytes_ = false;
};

bool Connection::advance() {
  static std::array<char, 64 * 1024> buffer;
  for (;;) {
    const long got = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN;
    if (!std::exchange(seen_bytes_, true)) log_.line("bytes " + std::to_string(now_ns()));
    if (!take({buffer.data(), static_cast<std::size_t>(got)})) return false;
  }
}

bool Connection::take(std::string_view bytes) {
  while (!bytes.empty()) {
    if (part_ == Part::Head) {
      if (!take_head(bytes)) return false;
    } else if (part_ == Part::Body || part_ == Part::ChunkBody) {
      const auto piece = bytes.substr(0, left_);
      ::EVP_DigestUpdate(digest_, piece.data(), piece.size());
      body_bytes_ += piece.size();
      left_ -= piece.size();
      bytes.remove_prefix(piece.size());
      if (left_ > 0) continue;
      if (part_ == Part::Body && !finish()) return false;
      if (part_ == Part::ChunkBody) part_ = Part::ChunkEnd;
    } else if (!take_chunk_line(bytes)) {
      return false;
    }
  }
  return true;
}

bool Connection::take_head(std::string_view& bytes) {
  const std::size_t before = head_.size();
  head_.append(bytes);
  const auto end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
  if (end == head_.npos) {
    bytes = {};
    return head_.size() <= kMaxHead;
  }
  bytes.remove_prefix(end + 4 - before);
  head_.resize(end + 4);
  const auto space = head_.find(' ');
  target_ = head_.substr(space + 1, head_.find(' ', space + 1) - space - 1);
  body_bytes_ = 0;
  ::EVP_DigestInit_ex(digest_, ::EVP_sha256(), nullptr);
  const std::string length(bench::field_value(head_, "content-length"));
  left_ = std::strtoull(length.c_str(), nullptr, 10);
  const bool chunked = bench::field_value(head_, "transfer-encoding") == "chunked";
  part_ = chunked ? Part::ChunkSize : Part::Body;
  head_.clear();
  return chunked || left_ > 0 || finish();
}

bool Connection::take_chunk_line(std::string_view& bytes) {
  line_.push_back(bytes.front());
  bytes.remove_prefix(1);
  if (line_.back() != '\n') return line_.size() <= kMaxHead;
  const std::string line = std::exchange(line_, {});
  if (part_ == Part::ChunkEnd) {
    part_ = Part::ChunkSize;
  } else if (part_ == Part::ChunkSize) {
    left_ = std::strtoull(line.c_str(), nullptr, 16);
    part_ = left_ == 0 ? Part::Trailers : Part::ChunkBody;
  } else if (line == "\r\n") {
    return finish();
  }
  return true;
}

bool Connection::finish() {
  part_ = Part::Head;
  log_.line("request " + target_ + " " + std::to_string(body_bytes_) + " " + hex_digest(digest_));
  if (const auto late = options_.number("answer-ms", 0); late > 0) pause_ms(late);
  const bool close = options_.flag("close");
  const std::string body = target_ + " " + std::to_string(body_bytes_) + "\n";
  const std::string response = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" +
                               std::string(close ? "Connection: close\r\n" : "") +
                               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  ++answered_;
  return ::send(fd_, response.data(), response.size(), MSG_NOSIGNAL) ==
             static_cast<long>(response.size()) &&
         !close;
}

/// The app: waits as told, listens, serves until a signal or until enough is answered.
class App {
 public:
  explicit App(const Options& options) : options_(options), log_(options.text("log", "")) {}
  int run();

 private:
  bool wait_before_listening() const;
  int listen() const;
  void accept_all(int listener);
  int serve(int listener);
  int stop(int signal) const;

  const Options& options_;
  Log log_;
  int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  int signals_ = -1;
  std::uint64_t answered_ = 0;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
};

int App::run() {
  log_.line("start " + std::to_string(::getpid()));
  std::printf("wake_app: started\n");
  std::fflush(stdout);
  sigset_t set{};
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (!wait_before_listening()) return stop(0);
  if (options_.number("crash", 0) > 0) {
    std::printf("wake_app: crashing as told\n");
    return static_cast<int>(options_.number("crash", 1));
  }
  const int listener = listen();
  return listener < 0 ? 1 : serve(listener);
}

// False: a signal came first.
bool App::wait_before_listening() const {
  const auto until = now_ns() + options_.number("delay-ms", 0) * 1'000'000;
  const std::string gate = options_.text("gate", "");
  signalfd_siginfo info{};
  while (now_ns() < until || (!gate.empty() && ::access(gate.c_str(), F_OK) != 0) ||
         options_.flag("never")) {
    if (::read(signals_, &info, sizeof info) == sizeof info) return false;
    pause_ms(1);
  }
  return true;
}

int App::listen() const {
  const char* port = std::getenv("PORT");
  const auto number =
      options_.number("port", port == nullptr ? 8080 : std::strtoull(port, nullptr, 10));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(number));
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("wake_app: bind");
    return -1;
  }
  const std::uint64_t stamp = now_ns();
  if (::listen(fd, static_cast<int>(options_.number("backlog", 1024))) != 0) return -1;
  log_.line("listen " + std::to_string(stamp));
  return fd;
}

void App::accept_all(int listener) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    connections_[fd] = std::make_unique<Connection>(fd, log_, options_, answered_);
  }
}

int App::serve(int listener) {
  for (const int fd : {listener, signals_}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  const auto enough = options_.number("exit-after", 0);
  std::array<epoll_event, 64> events{};
  while (enough == 0 || answered_ < enough) {
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      signalfd_siginfo info{};
      if (fd == listener) {
        accept_all(listener);
      } else if (fd == signals_) {
        if (::read(signals_, &info, sizeof info) != sizeof info) continue;
        log_.line("signal " + std::to_string(info.ssi_signo));
        if (!options_.flag("ignore-signals")) return stop(static_cast<int>(info.ssi_signo));
      } else if (!connections_.at(fd)->advance()) {
        connections_.erase(fd);
      }
    }
  }
  return stop(0);
}

int App::stop(int /*signal*/) const {
  pause_ms(options_.number("stop-ms", 0));
  const std::string gate = options_.text("stop-gate", "");
  while (!gate.empty() && ::access(gate.c_str(), F_OK) != 0) pause_ms(1);
  log_.line("exit");
  return 0;
}

}  // namespace
}  // namespace rooster::fakes

int main(int argc, char** argv) {
  const rooster::bench::Options options(argc, argv);
  rooster::fakes::App app(options);
  return app.run();
}
