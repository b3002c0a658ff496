#include "dns/recursor.hpp"

#include "dns/directory.hpp"
#include "dns/lookup.hpp"
#include "dns/name.hpp"
#include "dns/rebinding.hpp"

#include <algorithm>
#include <utility>

#include <sys/random.h>

namespace rooster::dns {
namespace {

constexpr std::size_t kMaxFailures = 1024;
constexpr std::uint32_t kStaleTtl = 5;  // soon enough to hear when upstream is back

std::uint16_t random_id() {
  std::uint16_t id = 0;
  (void)::getrandom(&id, sizeof id, 0);
  return id;
}

/// The question as we put it upstream: lower case, with room for a large datagram.
std::string upstream_query(const Query& query) {
  std::string name(query.name);
  std::ranges::transform(name, name.begin(), fold);
  const Question question{.name = name_to_text(name),
                          .type = query.type,
                          .dnssec_ok = query.edns && query.edns->dnssec_ok};
  auto bytes = make_query(question, random_id());
  if (!bytes) return {};
  if ((query.flags & flag::kCheckingDisabled) != 0) {
    (*bytes)[3] = static_cast<char>((*bytes)[3] | static_cast<char>(flag::kCheckingDisabled));
  }
  return *bytes;
}

void refuse(Reply& reply, std::string_view why) {
  reply.set_rcode(Rcode::Refused);
  reply.explain(Explanation::Prohibited, why);
}

}  // namespace

Recursor::Recursor(Loop& loop, RecursorOptions options)
    : loop_(loop),
      options_(std::move(options)),
      gateway_(name_from_text(options_.gateway_name).value_or("")),
      cache_(options_.cache),
      sources_(options_.questions_per_second, options_.outstanding_per_source),
      upstream_(loop, options_.upstream) {}

Recursor::~Recursor() = default;

bool Recursor::try_answer(const Asker& asker, const Query& query, Reply& reply) {
  ++counts_.questions;
  if (!sources_.ask(asker.source, loop_.now())) {
    ++counts_.refused;
    refuse(reply, "too many questions a second");
    return true;
  }
  const CacheKey key(asker.network, query);
  const AnswerCache::Entry* entry = cache_.find(key.view(), loop_.now());
  if (entry != nullptr && entry->fresh_until > loop_.now()) {
    ++counts_.from_cache;
    write_entry(*entry, query, reply);
    return true;
  }
  if (!failed_just_now(key.view())) return false;
  write_last_good(key.view(), query, reply);
  return true;
}

Task<> Recursor::resolve(const Asker& asker, const Query& query, Reply& reply, Waiter& waiter) {
  const CacheKey key(asker.network, query);
  const bool is_new = !flights_.contains(key.view());
  const bool has_room = !is_new || flights_.size() < options_.outstanding;
  if (!has_room || !sources_.enter(asker.source)) {
    ++counts_.refused;
    refuse(reply, "too many questions outstanding");
    co_return {};
  }
  const bool has_stale = cache_.find(key.view(), loop_.now()) != nullptr;
  const auto flight = join_flight(key.view(), query);
  flight->waiting.push_back(&waiter);
  const TimePoint deadline =
      loop_.now() + (has_stale ? options_.stale_patience : options_.patience);
  Woke woke = Woke::Notified;
  while (!flight->done && woke == Woke::Notified) woke = co_await waiter.wait(deadline);
  std::erase(flight->waiting, &waiter);
  sources_.leave(asker.source);
  write_last_good(key.view(), query, reply);
  co_return {};
}

bool Recursor::failed_just_now(std::string_view key) {
  const auto found = failed_until_.find(key);
  if (found == failed_until_.end()) return false;
  if (found->second > loop_.now()) return true;
  failed_until_.erase(found);
  return false;
}

/// What is known, old or new; SERVFAIL where nothing is.
void Recursor::write_last_good(std::string_view key, const Query& query, Reply& reply) {
  const AnswerCache::Entry* entry = cache_.find(key, loop_.now());
  if (entry == nullptr) {
    ++counts_.failed;
    reply.set_rcode(Rcode::ServFail);
    reply.explain(Explanation::NoReachableAuthority, "no answer from the node's name servers");
    return;
  }
  if (entry->fresh_until <= loop_.now()) {
    ++counts_.stale;
    reply.explain(Explanation::StaleAnswer, "the node's name servers do not answer");
  }
  write_entry(*entry, query, reply);
}

std::shared_ptr<Recursor::Flight> Recursor::join_flight(std::string_view key, const Query& query) {
  if (const auto found = flights_.find(key); found != flights_.end()) return found->second;
  auto flight = std::make_shared<Flight>();
  flight->key = key;
  flight->query = upstream_query(query);
  flights_.emplace(flight->key, flight);
  send(flight);
  return flight;
}

void Recursor::send(std::shared_ptr<Flight> flight) {
  const std::string query = flight->query;
  upstream_.ask(query,
                [this, flight = std::move(flight)](std::string_view response, std::string_view) {
                  land(flight, response);
                });
}

// Inside c-ares: only stores and notifies; those who wait are resumed by the loop.
void Recursor::land(const std::shared_ptr<Flight>& flight, std::string_view bytes) {
  auto response = read_response(bytes);
  const bool knows_no_edns =
      response && response->rcode == static_cast<std::uint16_t>(Rcode::FormErr) && flight->has_edns;
  if (knows_no_edns) {
    flight->has_edns = false;
    flight->query.resize(flight->query.size() - kOptBytes);
    flight->query[11] = '\0';  // no additional record
    // Not from inside c-ares.
    loop_.post([this, again = flight, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) send(again);
    });
    return;
  }
  bool is_good = false;
  if (response && answers(*response, flight->query)) {
    remove_private_addresses(*response, gateway_);
    is_good = cache_.store(flight->key, std::move(*response), loop_.now());
  }
  if (!is_good) {
    if (failed_until_.size() >= kMaxFailures) failed_until_.clear();
    failed_until_[flight->key] = loop_.now() + options_.failure_life;
  }
  flight->done = true;
  flights_.erase(flight->key);
  for (Waiter* waiter : flight->waiting) waiter->notify();
}

void Recursor::write_entry(const AnswerCache::Entry& entry, const Query& query, Reply& reply) {
  reply.set_rcode(static_cast<Rcode>(entry.response.rcode));
  const bool is_stale = entry.fresh_until <= loop_.now();
  const auto age = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(loop_.now() - entry.stored).count());
  const Duration longest =
      entry.is_negative ? options_.cache.max_negative : options_.cache.max_life;
  const auto most =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(longest).count());
  for (const Section section : {Section::Answer, Section::Authority, Section::Additional}) {
    for (const Record& record : entry.response.section(section)) {
      const std::uint32_t ttl =
          is_stale ? kStaleTtl : std::min(record.ttl - std::min(record.ttl, age), most);
      // In the case of this asker, not of the one who asked first.
      if (equal_folded(record.owner, query.name)) {
        Record own = record;
        own.owner = query.name;
        if (!write_record(reply, section, own, ttl)) return;
      } else if (!write_record(reply, section, record, ttl)) {
        return;
      }
    }
  }
}

}  // namespace rooster::dns
