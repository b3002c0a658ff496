#include "cli/slots.hpp"

#include "cli/node_client.hpp"
#include "cli/state_folder.hpp"
#include "core/json_text.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::cli {
namespace {

constexpr std::size_t kStampDigits = 24;

std::string to_digits(const tunnel::Tai64n& stamp) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : stamp.bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::optional<tunnel::Tai64n> parse_digits(std::string_view text) {
  if (text.size() != kStampDigits) return std::nullopt;
  tunnel::Tai64n stamp;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && (c < 'a' || c > 'f')) return std::nullopt;
    const unsigned value = static_cast<unsigned>(is_digit ? c - '0' : c - 'a' + 10);
    stamp.bytes[i / 2] = static_cast<std::uint8_t>(unsigned{stamp.bytes[i / 2]} << 4U | value);
  }
  return stamp;
}

// Locked, or not at all: nobody waits for another process.
Descriptor open_locked(const std::string& file) {
  Descriptor fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    const int why = errno;
    fd.reset();
    errno = why;
  }
  return fd;
}

Result<> write_whole(int fd, const std::string& text, const std::string& file) {
  if (::ftruncate(fd, 0) == 0 &&
      ::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())) {
    return {};
  }
  return fail(Fault::Internal, file + ": " + std::strerror(errno));
}

std::string read_whole(int fd) {
  std::string text(256, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

Slot::Slot(int number, std::string stem, Descriptor lock, std::string token_id)
    : number_(number),
      stem_(std::move(stem)),
      lock_(std::move(lock)),
      token_id_(std::move(token_id)) {}

Result<Slot> Slot::take(const Login& login) {
  if (auto made = make_folder(login.folder); !made) return fail(made.error());
  for (int number = 0; number < kMost; ++number) {
    const std::string stem = login.folder + "/slot-" + std::to_string(number);
    Descriptor lock = open_locked(stem + ".key");
    if (!lock && errno == EWOULDBLOCK) continue;
    if (!lock) return fail(Fault::Internal, stem + ".key: " + std::strerror(errno));
    Slot slot(number, stem, std::move(lock), login.token_id());
    slot.load();
    return slot;
  }
  return fail(Fault::TooManyPeers,
              std::to_string(kMost) + " commands of yours use this network; end some of them");
}

// Whatever is not as we write it counts as nothing: the slot then enrols anew.
void Slot::load() {
  const auto key = tunnel::key_from_base64(read_whole(lock_.get()));
  const auto state = read_small(stem_ + ".state");
  if (!key || !state || state->size() <= kStampDigits) return;
  const auto stamp = parse_digits(std::string_view(*state).substr(0, kStampDigits));
  boost::system::error_code error;
  const boost::json::value peer = boost::json::parse(state->substr(kStampDigits + 1), error);
  if (!stamp || error || text_at(peer, "token") != token_id_) return;
  // The two files are written one after the other; they belong together only if both say so.
  const tunnel::PrivateKey own(*key);
  if (text_at(peer, "public_key") != tunnel::to_base64(own.public_key().bytes)) return;
  auto membership = read_membership(peer);
  if (!membership) return;
  key_ = own;
  last_sent_ = *stamp;
  membership_ = std::move(*membership);
}

void Slot::keep(tunnel::Tai64n last_sent) {
  if (!membership_ || last_sent == last_sent_) return;
  last_sent_ = last_sent;
  const Descriptor state(::open((stem_ + ".state").c_str(), O_WRONLY | O_CLOEXEC));
  const std::string digits = to_digits(last_sent);
  // In place: the file keeps its size, and a crash leaves the old digits or the new ones.
  if (state) static_cast<void>(::pwrite(state.get(), digits.data(), digits.size(), 0));
}

Task<> Slot::enrol(GatewayClient& gateway, Waiter& waiter, TimePoint deadline) {
  tunnel::SystemRandom random;
  const auto fresh = tunnel::PrivateKey::generate(random);
  std::string body;
  JsonWriter(body)
      .begin_object()
      .field("public_key", tunnel::to_base64(fresh.public_key().bytes))
      .field("ephemeral", true)
      .field("rights", "connect,exec")
      .end_object();
  const auto answer = co_await gateway.call("POST", "/v1/peers", std::move(body), waiter, deadline);
  if (!answer) co_return answer.error();
  const auto* const object = answer->if_object();
  const auto* const peer = object == nullptr ? nullptr : object->if_contains("peer");
  if (peer == nullptr) {
    co_return Error(Fault::UpstreamBadResponse, "the gateway's answer holds no peer");
  }
  co_return adopt(fresh, *peer);
}

Result<> Slot::adopt(const tunnel::PrivateKey& key, const boost::json::value& peer) {
  auto membership = read_membership(peer);
  if (!membership) return fail(membership.error());
  if (auto written =
          write_whole(lock_.get(), tunnel::to_base64(key.bytes()) + '\n', stem_ + ".key");
      !written) {
    return written;
  }
  last_sent_ = {};
  const std::string state = to_digits(last_sent_) + '\n' + boost::json::serialize(peer) + '\n';
  if (auto written = write_private(stem_ + ".state", state); !written) return written;
  key_ = key;
  membership_ = std::move(*membership);
  return {};
}

Result<Descriptor> lock_key(const tunnel::PublicKey& key) {
  const auto state = state_folder();
  if (!state) return fail(state.error());
  const std::string folder = *state + "/keys";
  if (auto made = make_folder(folder); !made) return fail(made.error());
  const std::string file = folder + '/' + tunnel::to_hex(key.bytes) + ".lock";
  Descriptor lock = open_locked(file);
  if (lock) {
    static_cast<void>(write_whole(lock.get(), std::to_string(::getpid()) + '\n', file));
    return lock;
  }
  if (errno != EWOULDBLOCK) return fail(Fault::Internal, file + ": " + std::strerror(errno));
  const std::string pid = read_small(file).value_or("");
  return fail(Fault::PeerExists,
              "process " + pid.substr(0, pid.find('\n')) +
                  " uses this file's key, and two can't share one; end it, or take a file of its "
                  "own (rooster wireguard create)");
}

}  // namespace rooster::cli
