// Recursor: every name that is not of the private zones, from its cache or from upstream, within
// what one source may ask.
#pragma once

#include "core/ids.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "dns/answer_cache.hpp"
#include "dns/message.hpp"
#include "dns/reply.hpp"
#include "dns/source_limits.hpp"
#include "dns/upstream.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::dns {

struct RecursorOptions {
  UpstreamOptions upstream{};
  CacheLimits cache{};
  std::string gateway_name{};  ///< "rooster.<domain>": upstream may give it no private address
  /// A failing name is not asked for more often (RFC 9520 §3.2).
  Duration failure_life = std::chrono::seconds(1);
  double questions_per_second = 500;  ///< of one source
  std::size_t outstanding_per_source = 200;
  std::size_t outstanding = 4096;                             ///< of all
  Duration patience = std::chrono::milliseconds(4500);        ///< stub resolvers give up after 5 s
  Duration stale_patience = std::chrono::milliseconds(1800);  ///< where an old answer is known
};

struct RecursorCounts {
  std::uint64_t questions = 0;
  std::uint64_t from_cache = 0;
  std::uint64_t stale = 0;
  std::uint64_t failed = 0;
  std::uint64_t refused = 0;  ///< over a limit
};

/// Who asks: its network and its address.
struct Asker {
  NetworkId network;
  IpAddress source;
};

class Recursor {
 public:
  Recursor(Loop& loop, RecursorOptions options = {});
  /// No resolve() may be waiting.
  ~Recursor();
  Recursor(const Recursor&) = delete;
  Recursor& operator=(const Recursor&) = delete;

  /// Answers what needs no waiting: from the cache, or with a refusal. False: resolve() it.
  bool try_answer(const Asker& asker, const Query& query, Reply& reply);
  /// Asks upstream, together with all who wait for the same, and always ends with an answer in
  /// `reply`. `asker`, `query` and `reply` belong to the awaiting coroutine.
  Task<> resolve(const Asker& asker, const Query& query, Reply& reply, Waiter& waiter);

  const RecursorCounts& counts() const { return counts_; }
  const Upstream& upstream() const { return upstream_; }

 private:
  struct Flight {
    std::string key;
    std::string query;
    bool has_edns = true;
    bool done = false;
    std::vector<Waiter*> waiting;
  };
  std::shared_ptr<Flight> join_flight(std::string_view key, const Query& query);
  void send(std::shared_ptr<Flight> flight);
  void land(const std::shared_ptr<Flight>& flight, std::string_view response);
  void write_entry(const AnswerCache::Entry& entry, const Query& query, Reply& reply);
  void write_last_good(std::string_view key, const Query& query, Reply& reply);
  bool failed_just_now(std::string_view key);

  Loop& loop_;
  RecursorOptions options_;
  std::string gateway_;  // wire form
  AnswerCache cache_;
  SourceLimits sources_;
  std::map<std::string, std::shared_ptr<Flight>, std::less<>> flights_;
  std::map<std::string, TimePoint, std::less<>> failed_until_;
  RecursorCounts counts_;
  std::shared_ptr<const char> alive_ = std::make_shared<const char>();  // for what is posted
  Upstream upstream_;  // last: its callbacks use the others
};

}  // namespace rooster::dns
