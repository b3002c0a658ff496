#include "tls/ticket_keys.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace rooster::tls {
namespace {

constexpr std::string_view kMagic = "rooster-tickets1";
static_assert(sizeof(TicketKey) == 80, "encode() copies whole keys");

TicketKey key_of(const TicketKeys::Random& random) {
  TicketKey key;
  std::memcpy(&key, random.data(), sizeof key);
  return key;
}

}  // namespace

TicketKeys TicketKeys::fresh(WallTime now, const Random& random) {
  TicketKeys made;
  made.keys_.push_back(key_of(random));
  made.rotated_at_ = now;
  return made;
}

TicketKeys::Random TicketKeys::random() {
  Random bytes;
  // Without random numbers nothing here is safe.
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();
  return bytes;
}

TicketKeys TicketKeys::rotate(WallTime now, const Random& random) const {
  TicketKeys next = fresh(now, random);
  const std::size_t kept = std::min(keys_.size(), kKeys - 1);
  next.keys_.insert(next.keys_.end(), keys_.begin(),
                    keys_.begin() + static_cast<std::ptrdiff_t>(kept));
  return next;
}

const TicketKey* TicketKeys::find(std::span<const unsigned char, 16> name) const {
  const auto found = std::ranges::find_if(
      keys_, [&](const TicketKey& key) { return std::ranges::equal(key.name, name); });
  return found != keys_.end() ? &*found : nullptr;
}

std::string TicketKeys::encode() const {
  std::string bytes(kMagic);
  const std::int64_t seconds = std::chrono::system_clock::to_time_t(rotated_at_);
  bytes.append(reinterpret_cast<const char*>(&seconds), sizeof seconds);
  for (const TicketKey& key : keys_) bytes.append(reinterpret_cast<const char*>(&key), sizeof key);
  return bytes;
}

Result<TicketKeys> TicketKeys::decode(std::string_view bytes) {
  std::int64_t seconds = 0;
  const std::size_t head = kMagic.size() + sizeof seconds;
  const std::size_t body = bytes.size() < head ? 0 : bytes.size() - head;
  if (!bytes.starts_with(kMagic) || body == 0 || body % sizeof(TicketKey) != 0 ||
      body / sizeof(TicketKey) > kKeys) {
    return fail(Fault::Internal, "ticket keys: not in the expected form");
  }
  std::memcpy(&seconds, bytes.data() + kMagic.size(), sizeof seconds);
  TicketKeys made;
  made.rotated_at_ = std::chrono::system_clock::from_time_t(seconds);
  made.keys_.resize(body / sizeof(TicketKey));
  std::memcpy(made.keys_.data(), bytes.data() + head, body);
  return made;
}

}  // namespace rooster::tls
