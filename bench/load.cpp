// bench_load: loads one server in one mode and prints one JSON line.
//
//   1. open --connections connections and handshake them (not in mode handshake/resume)
//   2. with --gate: print "ready", wait for a line on stdin; the driver reads the server's CPU time
//   meanwhile
//   3. run the mode for --seconds, counting and checking every answer
//   4. print the JSON line; with --gate wait for another line before anything is closed
//
// Modes: http (closed loop; --body=N uploads), rate (open loop at --rate, latency from when a
// request was due), handshake, resume (a new connection per request), websocket (echo), idle (hold
// what is open).
#include "bench/client.hpp"
#include "bench/options.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include <sys/epoll.h>
#include <unistd.h>

namespace rooster::bench {
namespace {

constexpr std::string_view kBrowserFields =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36\r\n"
    "Accept: "
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Encoding: identity\r\n"
    "Accept-Language: pt-BR,pt;q=0.9,en-US;q=0.8,en;q=0.7\r\n"
    "Cache-Control: max-age=0\r\n"
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; "
    "_ga=GA1.2.1034928431.1718000000\r\n"
    "Referer: https://bench.app.dev/index.html\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Upgrade-Insecure-Requests: 1\r\n";
constexpr std::size_t kEchoBytes = 64;
constexpr std::uint32_t kPerSource = 1000;  // connections from one loopback address
constexpr int kEvents = 256;

SSL_SESSION* kept_session = nullptr;  // the newest ticket; OpenSSL's callback has no other place

int keep_session(SSL* /*ssl*/, SSL_SESSION* session) {
  if (kept_session != nullptr) ::SSL_SESSION_free(kept_session);
  kept_session = session;
  return 1;
}

class Load {
 public:
  explicit Load(const Options& options);
  int run();

 private:
  bool is_churning() const { return mode_ == "handshake" || mode_ == "resume"; }
  bool open_all();
  void reopen(Client& client);
  void begin();
  void turn(int timeout_ms);
  void turn_until(Clock::time_point when);
  void handle(Client& client, Client::Event event);
  void answered(Client& client);
  void ask(Client& client, Clock::time_point due);
  void dispatch_due();
  void gate(const char* word);
  void report(double seconds);

  Options options_;
  std::string mode_;
  Target target_;
  int epoll_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::deque<Client*> idle_;
  std::string head_;
  std::string frame_, echo_;
  std::uint64_t body_bytes_ = 0, expected_bytes_ = 0;
  int expected_status_ = 200;
  bool counting_ = false, opening_ = false;
  std::uint64_t opened_ = 0, requests_ = 0, errors_ = 0, bytes_ = 0, resumed_ = 0, handed_out_ = 0,
                in_flight_ = 0;
  std::string first_failure_, suite_;
  std::vector<float> latencies_us_;
  Clock::time_point start_{}, stop_{};
  double rate_ = 0;
};

Load::Load(const Options& options)
    : options_(options),
      mode_(options.text("mode", "http")),
      target_(make_target(options.text("address", "127.0.0.1"),
                          static_cast<std::uint16_t>(options.number("port", 443)),
                          options.text("host", "bench.app.dev"))),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      body_bytes_(options.number("body", 0)),
      expected_bytes_(options.number("expect", 0)),
      expected_status_(static_cast<int>(options.number("status", 200))),
      rate_(options.real("rate", 2000)) {
  if (options.flag("tls")) {
    target_.tls =
        make_client_tls(options.text("ca", ""), options.text("suite", "TLS_AES_128_GCM_SHA256"));
    if (mode_ == "resume") {
      ::SSL_CTX_set_session_cache_mode(target_.tls,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
      ::SSL_CTX_sess_set_new_cb(target_.tls, keep_session);
    }
  }
  const std::string verb = body_bytes_ > 0 ? "POST " : "GET ";
  head_ = verb + options.text("path", "/small") + " HTTP/1.1\r\nHost: " + target_.host + "\r\n";
  if (options.flag("browser")) head_ += kBrowserFields;
  if (body_bytes_ > 0) head_ += "Content-Length: " + std::to_string(body_bytes_) + "\r\n";
  if (mode_ == "websocket") {
    head_ +=
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const std::string payload(kEchoBytes, 'w');
    frame_ = std::string("\x82\xc0", 2) + std::string(4, '\0') +
             payload;  // a zero mask: bytes as they are
    echo_ = std::string("\x82\x40", 2) + payload;
  }
  head_ += "\r\n";
}

bool Load::open_all() {
  const auto count = static_cast<std::uint32_t>(options_.number("connections", 64));
  for (std::uint32_t i = 0; i < count; ++i) {
    clients_.push_back(std::make_unique<Client>(target_, epoll_, i));
  }
  if (is_churning()) return true;
  opening_ = true;
  const auto give_up = Clock::now() + std::chrono::seconds(60);
  // In batches below any listen backlog.
  for (std::uint32_t next = 0; opened_ < count && errors_ == 0 && Clock::now() < give_up;) {
    for (; next < count && next < opened_ + 128; ++next) {
      if (!clients_[next]->open(1 + next / kPerSource)) ++errors_;
    }
    turn(100);
  }
  opening_ = false;
  return opened_ == count;
}

void Load::reopen(Client& client) {
  client.asked = Clock::now();
  ++in_flight_;
  const auto source = static_cast<std::uint32_t>(16 + handed_out_++ % 64);
  if (!client.open(source, mode_ == "resume" ? kept_session : nullptr)) ++errors_;
}

void Load::ask(Client& client, Clock::time_point due) {
  client.asked = due;
  if (counting_ && !is_churning()) ++in_flight_;
  if (mode_ == "websocket" && counting_) {
    client.exchange_raw(frame_, echo_);
  } else {
    client.ask(head_, body_bytes_);
  }
  handle(client, client.advance());
}

void Load::handle(Client& client, Client::Event event) {
  switch (event) {
    case Client::Event::Nothing:
      return;
    case Client::Event::Failed:
      ++errors_;
      if (counting_ && in_flight_ > 0) --in_flight_;
      if (first_failure_.empty()) first_failure_ = client.failure();
      // A server that refuses everything must not turn the run into a spin.
      if (is_churning() && errors_ < 1000) reopen(client);
      return;
    case Client::Event::Opened:
      if (client.tls() != nullptr) {
        suite_ = ::SSL_get_cipher_name(client.tls());
        if (::SSL_session_reused(client.tls()) == 1) ++resumed_;
      }
      // While opening, one request warms the connection and an idle one is idle after use.
      if (opening_ && options_.flag("fresh")) {
        ++opened_;
        return;
      }
      return ask(client, is_churning() ? client.asked : Clock::now());
    case Client::Event::Answered:
      return answered(client);
  }
}

void Load::answered(Client& client) {
  const auto now = Clock::now();
  const bool is_echo = mode_ == "websocket" && counting_;
  const auto& response = client.response();
  const int status = mode_ == "websocket" ? 101 : expected_status_;
  bool good = is_echo || response.status() == status;
  if (body_bytes_ > 0) good = good && response.body_start() == std::to_string(body_bytes_);
  if (expected_bytes_ > 0) good = good && response.body_bytes() == expected_bytes_;
  if (!good) {
    ++errors_;
    if (first_failure_.empty()) first_failure_ = response.head() + response.body_start();
  }
  if (opening_) {
    ++opened_;
    return;
  }
  ++requests_;
  --in_flight_;
  bytes_ += is_echo ? kEchoBytes : response.body_bytes() + body_bytes_;
  latencies_us_.push_back(std::chrono::duration<float, std::micro>(now - client.asked).count());
  if (mode_ == "rate") {
    idle_.push_back(&client);
  } else if (now < stop_) {
    if (!is_churning()) return ask(client, now);
    client.close();
    reopen(client);
  }
}

void Load::turn(int timeout_ms) {
  std::array<epoll_event, kEvents> events{};
  const int count = ::epoll_wait(epoll_, events.data(), kEvents, timeout_ms);
  for (int i = 0; i < count; ++i) {
    Client& client = *clients_[events[static_cast<std::size_t>(i)].data.u32];
    handle(client, client.advance());
  }
}

void Load::turn_until(Clock::time_point when) {
  const auto wait = std::max(when - Clock::now(), Clock::duration::zero());
  const timespec timeout{.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(wait).count(),
                         .tv_nsec = wait.count() % 1'000'000'000};
  std::array<epoll_event, kEvents> events{};
  const int count = ::epoll_pwait2(epoll_, events.data(), kEvents, &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    Client& client = *clients_[events[static_cast<std::size_t>(i)].data.u32];
    handle(client, client.advance());
  }
}

// Requests that are due go out on idle connections; one that finds none waits, and its wait counts.
void Load::dispatch_due() {
  const std::chrono::duration<double> step(1.0 / rate_);
  for (;;) {
    const auto due = start_ + std::chrono::duration_cast<Clock::duration>(
                                  step * static_cast<double>(handed_out_));
    if (due >= stop_) return turn_until(Clock::now() + std::chrono::milliseconds(5));
    if (due > Clock::now() || idle_.empty()) {
      return turn_until(idle_.empty() ? Clock::now() + std::chrono::milliseconds(5) : due);
    }
    Client* client = idle_.front();
    idle_.pop_front();
    ++handed_out_;
    ask(*client, due);
  }
}

void Load::begin() {
  counting_ = true;
  resumed_ = 0;
  start_ = Clock::now();
  stop_ = start_ + std::chrono::duration_cast<Clock::duration>(
                       std::chrono::duration<double>(options_.real("seconds", 3)));
  for (auto& client : clients_) {
    if (is_churning()) {
      reopen(*client);
    } else if (mode_ == "rate") {
      idle_.push_back(client.get());
    } else {
      ask(*client, Clock::now());
    }
  }
}

void Load::gate(const char* word) {
  if (!options_.flag("gate")) return;
  std::printf("%s\n", word);
  std::fflush(stdout);
  std::array<char, 64> line{};
  if (std::fgets(line.data(), line.size(), stdin) == nullptr) std::exit(1);
}

int Load::run() {
  if (!open_all()) {
    std::printf("{\"mode\":\"%s\",\"errors\":%llu,\"requests\":0,\"failure\":\"opened %llu\"}\n",
                mode_.c_str(), static_cast<unsigned long long>(errors_ + 1),
                static_cast<unsigned long long>(opened_));
    std::fprintf(stderr, "%s\n", first_failure_.c_str());
    return 1;
  }
  gate("ready");
  if (mode_ != "idle") {
    begin();
    // Past the end, answers under way are still awaited so that every request counted was served.
    const auto hard_stop = stop_ + std::chrono::seconds(20);
    while (Clock::now() < stop_ || (in_flight_ > 0 && Clock::now() < hard_stop)) {
      mode_ == "rate" ? dispatch_due() : turn(10);
    }
  }
  report(std::chrono::duration<double>(Clock::now() - start_).count());
  gate("done");
  return errors_ == 0 ? 0 : 1;
}

void Load::report(double seconds) {
  std::sort(latencies_us_.begin(), latencies_us_.end());
  const auto at = [&](double share) {
    if (latencies_us_.empty()) return 0.0;
    const auto last = static_cast<double>(latencies_us_.size() - 1);
    return static_cast<double>(latencies_us_[static_cast<std::size_t>(last * share)]);
  };
  std::printf(
      "{\"mode\":\"%s\",\"requests\":%llu,\"errors\":%llu,\"seconds\":%.4f,\"bytes\":%llu,"
      "\"connections\":%zu,\"resumed\":%llu,\"suite\":\"%s\",\"p50_us\":%.1f,\"p99_us\":%.1f,"
      "\"max_us\":%.1f}\n",
      mode_.c_str(), static_cast<unsigned long long>(requests_),
      static_cast<unsigned long long>(errors_), seconds, static_cast<unsigned long long>(bytes_),
      clients_.size(), static_cast<unsigned long long>(resumed_), suite_.c_str(), at(0.5), at(0.99),
      at(1.0));
  std::fflush(stdout);
  if (!first_failure_.empty()) std::fprintf(stderr, "first failure: %s\n", first_failure_.c_str());
}

}  // namespace
}  // namespace rooster::bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const rooster::bench::Options options(argc, argv);
  rooster::bench::Load load(options);
  return load.run();
}
