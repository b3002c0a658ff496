// AnswerCache: upstream's answers by network, name, type and flags. Bounded in number and bytes;
// the one unused for longest goes. What is negative or failed is forgotten within seconds.
#pragma once

#include "core/ids.hpp"
#include "core/time.hpp"
#include "dns/message.hpp"
#include "dns/response.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

namespace rooster::dns {

struct CacheLimits {
  std::size_t entries = 8192;
  std::size_t bytes = 16 * 1024 * 1024;
  Duration min_life = std::chrono::seconds(1);
  Duration max_life = std::chrono::minutes(10);
  Duration max_negative = std::chrono::seconds(5);
  Duration max_stale = std::chrono::hours(1);  ///< given when nobody upstream answers (RFC 8767)
};

/// A key without allocation. Two networks never share an entry.
class CacheKey {
 public:
  CacheKey(NetworkId network, const Query& query);
  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, 8 + kPlainUdpBytes> bytes_;
  std::size_t size_ = 0;
};

class AnswerCache {
 public:
  struct Entry {
    Response response;
    TimePoint stored;
    TimePoint fresh_until;
    bool is_negative = false;
    std::size_t bytes = 0;
    std::list<std::string_view>::iterator use;
  };

  explicit AnswerCache(CacheLimits limits = {}) : limits_(limits) {}

  /// Fresh or stale, never too old to give at all. Valid until the next store().
  const Entry* find(std::string_view key, TimePoint now);
  /// False: nothing is stored of a response that failed (SERVFAIL and the like).
  bool store(std::string_view key, Response response, TimePoint now);
  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const noexcept {
      return std::hash<std::string_view>{}(key);
    }
  };
  using Entries = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;
  void erase(Entries::iterator at);

  CacheLimits limits_;
  Entries entries_;
  std::list<std::string_view> uses_;  // keys, the latest used first
  std::size_t bytes_ = 0;
};

/// How long an answer holds, by its records' TTLs within the limits.
Duration life_of(const Response& response, const CacheLimits& limits);

}  // namespace rooster::dns
