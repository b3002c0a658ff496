#include "dns/answer_cache.hpp"

#include "dns/directory.hpp"

#include <algorithm>
#include <cstring>

namespace rooster::dns {
namespace {

constexpr std::size_t kEntryBytes = 512;   // of the maps, roughly
constexpr std::size_t kRecordBytes = 128;  // of a Record beside its text

bool is_negative(const Response& response) {
  const auto& answers = response.section(Section::Answer);
  return std::ranges::none_of(answers, [&](const Record& record) {
    return record.type == response.type || response.type == type::kAny;
  });
}

/// RFC 2308 §5: the lesser of the SOA's TTL and its last number.
std::uint32_t negative_ttl(const Response& response) {
  for (const Record& record : response.section(Section::Authority)) {
    if (record.type != type::kSoa || record.data.size() < 4) continue;
    return std::min(record.ttl, *Reader(record.data, record.data.size() - 4).u32());
  }
  return 0;
}

std::size_t bytes_of(const Response& response) {
  std::size_t bytes = kEntryBytes + response.name.size();
  for (const auto& section : response.sections) {
    for (const Record& record : section) {
      bytes += kRecordBytes + record.owner.size() + record.data.size();
    }
  }
  return bytes;
}

}  // namespace

CacheKey::CacheKey(NetworkId network, const Query& query) {
  const auto put = [this](std::size_t value) { bytes_[size_++] = static_cast<char>(value); };
  for (int shift = 24; shift >= 0; shift -= 8) put(network.value >> shift);
  put(query.type >> 8);
  put(query.type);
  const bool checks = (query.flags & flag::kCheckingDisabled) == 0;
  put((query.edns && query.edns->dnssec_ok ? 1u : 0u) | (checks ? 2u : 0u));
  for (const char c : query.name) bytes_[size_++] = fold(c);
}

Duration life_of(const Response& response, const CacheLimits& limits) {
  if (is_negative(response)) {
    return std::clamp<Duration>(std::chrono::seconds(negative_ttl(response)), limits.min_life,
                                limits.max_negative);
  }
  std::uint32_t lowest = 0xffffffff;
  for (const Record& record : response.section(Section::Answer)) {
    lowest = std::min(lowest, record.ttl);
  }
  return std::clamp<Duration>(std::chrono::seconds(lowest), limits.min_life, limits.max_life);
}

const AnswerCache::Entry* AnswerCache::find(std::string_view key, TimePoint now) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return nullptr;
  if (found->second.fresh_until + limits_.max_stale <= now) {
    erase(found);
    return nullptr;
  }
  uses_.splice(uses_.begin(), uses_, found->second.use);
  return &found->second;
}

bool AnswerCache::store(std::string_view key, Response response, TimePoint now) {
  const bool is_answer = response.rcode == static_cast<std::uint16_t>(Rcode::NoError) ||
                         response.rcode == static_cast<std::uint16_t>(Rcode::NxDomain);
  const std::size_t bytes = bytes_of(response);
  if (!is_answer || bytes > limits_.bytes) return false;
  if (const auto known = entries_.find(key); known != entries_.end()) erase(known);
  while (!uses_.empty() && (entries_.size() >= limits_.entries || bytes_ + bytes > limits_.bytes)) {
    erase(entries_.find(uses_.back()));
  }
  const TimePoint fresh_until = now + life_of(response, limits_);
  const bool negative = is_negative(response);
  const auto at = entries_
                      .emplace(key, Entry{.response = std::move(response),
                                          .stored = now,
                                          .fresh_until = fresh_until,
                                          .is_negative = negative,
                                          .bytes = bytes})
                      .first;
  at->second.use = uses_.insert(uses_.begin(), at->first);
  bytes_ += bytes;
  return true;
}

void AnswerCache::erase(Entries::iterator at) {
  bytes_ -= at->second.bytes;
  uses_.erase(at->second.use);
  entries_.erase(at);
}

}  // namespace rooster::dns
