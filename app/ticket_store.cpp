#include "app/ticket_store.hpp"

#include <array>
#include <string>
#include <variant>

#include <sys/mman.h>
#include <unistd.h>

namespace rooster::app {

namespace {

constexpr const char* kName = "ticket-keys";

WallTime wall_now() {
  return std::chrono::system_clock::now();
}

std::string read_all(int fd) {
  std::array<char, 4096> bytes;
  const ssize_t size = ::pread(fd, bytes.data(), bytes.size(), 0);
  return size > 0 ? std::string(bytes.data(), static_cast<std::size_t>(size)) : std::string();
}

}  // namespace

TicketStore::TicketStore(keeper::Client& keeper, Log& log) : keeper_(keeper), log_(log) {
  keeper::Reply reply = keeper_.call(keeper::Fetch{.name = kName});
  if (const auto* fetched = std::get_if<keeper::Fetched>(&reply)) {
    if (auto kept = tls::TicketKeys::decode(read_all(fetched->descriptor.get()))) {
      keys_ = std::make_shared<const tls::TicketKeys>(std::move(*kept));
    }
  }
  if (!keys_) {
    keys_ = std::make_shared<const tls::TicketKeys>(
        tls::TicketKeys::fresh(wall_now(), tls::TicketKeys::random()));
    keep();
  }
}

void TicketStore::keep() {
  const std::string bytes = keys_->encode();
  Descriptor file(memfd_create(kName, MFD_CLOEXEC));
  if (!file ||
      ::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    log_.warn("session ticket keys can't be kept: a restarted server will not know them");
    return;
  }
  keeper_.request(keeper::Store{.name = kName, .descriptor = std::move(file)},
                  [](keeper::Reply) {});
}

void TicketStore::rotate_on(
    Loop& loop, std::function<void(const std::shared_ptr<const tls::TicketKeys>&)> adopt) {
  adopt_ = std::move(adopt);
  timer_ = std::make_unique<Timer>(loop, [this] { rotate(); });
  set_timer();
}

void TicketStore::rotate() {
  if (wall_now() >= keys_->rotate_at()) {
    keys_ = std::make_shared<const tls::TicketKeys>(
        keys_->rotate(wall_now(), tls::TicketKeys::random()));
    keep();
    adopt_(keys_);
  }
  set_timer();
}

// Looked at each minute: the wall clock may be moved, a timer's clock is not.
void TicketStore::set_timer() {
  timer_->set(Clock::now() + std::chrono::minutes(1));
}

}  // namespace rooster::app
