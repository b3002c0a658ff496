// holder: opens many TLS (or plain) connections first, then asks one distinct request on each and
// checks that every answer is its own. Prints "ready" when all are open and "asked" when all
// requests are out; a line on stdin lets it go on. Ends with one JSON line.
//   --port --host --ca --connections=N --tls --prefix=/r/ --seconds=N (to wait for the answers)
//   --post=BYTES
#include "bench/client.hpp"
#include "bench/options.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

namespace rooster::fakes {
namespace {

using bench::Client;
using bench::Clock;

constexpr std::uint32_t kPerSource = 1000;  // below any limit per address
constexpr std::uint32_t kOpening = 256;     // below any listen backlog

class Holder {
 public:
  explicit Holder(const bench::Options& options)
      : options_(options),
        target_(bench::make_target("127.0.0.1",
                                   static_cast<std::uint16_t>(options.number("port", 443)),
                                   options.text("host", "app.app.dev"))),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        prefix_(options.text("prefix", "/r/")),
        count_(static_cast<std::uint32_t>(options.number("connections", 100))) {
    if (options.flag("tls")) {
      target_.tls = bench::make_client_tls(options.text("ca", ""), "TLS_AES_128_GCM_SHA256");
    }
  }
  int run();

 private:
  bool open_all();
  void ask_all();
  void turn();
  void handle(Client& client, Client::Event event);
  bool is_own_answer(const Client& client) const;
  static void say_and_wait(const char* word);

  const bench::Options& options_;
  bench::Target target_;
  int epoll_;
  std::string prefix_;
  std::uint32_t count_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::string> heads_;
  std::uint32_t opened_ = 0, answered_ = 0, good_ = 0, failed_ = 0;
  std::vector<int> statuses_ = std::vector<int>(600);
  std::string first_failure_;
};

bool Holder::open_all() {
  for (std::uint32_t i = 0; i < count_; ++i) {
    clients_.push_back(std::make_unique<Client>(target_, epoll_, i));
  }
  const auto give_up = Clock::now() + std::chrono::seconds(120);
  for (std::uint32_t next = 0; opened_ < count_ && failed_ == 0 && Clock::now() < give_up;) {
    for (; next < count_ && next < opened_ + kOpening; ++next) {
      if (!clients_[next]->open(1 + next / kPerSource)) ++failed_;
    }
    turn();
  }
  return opened_ == count_;
}

void Holder::ask_all() {
  const auto post = options_.number("post", 0);
  for (std::uint32_t i = 0; i < count_; ++i) {
    heads_.push_back((post > 0 ? "POST " : "GET ") + prefix_ + std::to_string(i) +
                     " HTTP/1.1\r\nHost: " + target_.host + "\r\n" +
                     (post > 0 ? "Content-Length: " + std::to_string(post) + "\r\n\r\n" : "\r\n"));
  }
  for (std::uint32_t i = 0; i < count_; ++i) {
    clients_[i]->ask(heads_[i], post);
    handle(*clients_[i], clients_[i]->advance());
  }
}

// The app answers with the target it was asked for.
bool Holder::is_own_answer(const Client& client) const {
  const auto& response = client.response();
  return response.status() == 200 &&
         response.body_start().starts_with(prefix_ + std::to_string(client.index()) + " ");
}

void Holder::handle(Client& client, Client::Event event) {
  if (event == Client::Event::Opened) ++opened_;
  if (event == Client::Event::Answered) {
    ++answered_;
    const int status = client.response().status();
    if (status > 0 && status < 600) ++statuses_[static_cast<std::size_t>(status)];
    if (is_own_answer(client)) {
      ++good_;
    } else if (first_failure_.empty()) {
      first_failure_ = client.response().head() + client.response().body_start();
    }
  }
  if (event == Client::Event::Failed) {
    ++failed_;
    if (first_failure_.empty()) first_failure_ = client.failure();
  }
}

void Holder::turn() {
  std::array<epoll_event, 256> events{};
  const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 100);
  for (int i = 0; i < count; ++i) {
    Client& client = *clients_[events[static_cast<std::size_t>(i)].data.u32];
    handle(client, client.advance());
  }
}

void Holder::say_and_wait(const char* word) {
  std::printf("%s\n", word);
  std::fflush(stdout);
  std::array<char, 64> line{};
  if (std::fgets(line.data(), line.size(), stdin) == nullptr) std::exit(1);
}

int Holder::run() {
  if (open_all()) {
    say_and_wait("ready");
    ask_all();
    say_and_wait("asked");
    const auto give_up = Clock::now() + std::chrono::seconds(options_.number("seconds", 60));
    while (answered_ + failed_ < count_ && Clock::now() < give_up) turn();
  }
  std::printf("{\"opened\":%u,\"answered\":%u,\"good\":%u,\"failed\":%u,\"statuses\":{", opened_,
              answered_, good_, failed_);
  const char* comma = "";
  for (std::size_t status = 0; status < statuses_.size(); ++status) {
    if (statuses_[status] == 0) continue;
    std::printf("%s\"%zu\":%d", comma, status, statuses_[status]);
    comma = ",";
  }
  std::printf("}}\n");
  if (!first_failure_.empty()) std::fprintf(stderr, "first failure: %s\n", first_failure_.c_str());
  return good_ == count_ ? 0 : 1;
}

}  // namespace
}  // namespace rooster::fakes

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const rooster::bench::Options options(argc, argv);
  rooster::fakes::Holder holder(options);
  return holder.run();
}
