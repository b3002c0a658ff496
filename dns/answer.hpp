// The private zones' answers: internal., flycast. and the reverse of fdaa::/16. Pure: (directory,
// who asks, query) -> reply. What is not theirs is left to the recursor.
//
//   <app>.internal  global.<app>  <region>.<app>  <id>.vm.<app>  <group>.process.<app>       AAAA
//   top<N>.nearest.of.<app>  <value>.<key>.kv._metadata.<app>  <peer>._peer  _api            AAAA
//   vms.<app>  all.vms.<app>  regions.<app>  all.regions.<app>                               TXT
//   _apps  _peer  _instances  all._instances                                                 TXT
//   <app>.flycast                                                                            AAAA
//   <nibbles>.a.a.d.f.ip6.arpa                                                               PTR
#pragma once

#include "core/ids.hpp"
#include "core/time.hpp"
#include "dns/directory.hpp"
#include "dns/message.hpp"
#include "dns/reply.hpp"

#include <functional>
#include <string_view>

namespace rooster::dns {

inline constexpr std::uint32_t kTtl = 5;

struct AnswerOptions {
  /// How far a region is, for top<N>.nearest.of; unset: all equally far.
  std::function<Duration(std::string_view region)> round_trip{};
};

enum class Verdict : std::uint8_t {
  Answered,  ///< the reply is complete up to finish()
  Recurse,   ///< not of the private zones, and may be asked for elsewhere
};

/// Answers `query` for an asker in `network`. A query that is none of the private zones' and may
/// not be forwarded (class, transfer, no recursion desired) is refused here.
Verdict answer(const Directory& directory, NetworkId network, const Query& query,
               const AnswerOptions& options, Reply& reply);

/// True for names that never leave: internal., flycast., the reverse of fdaa::/16. `name` in wire
/// form.
bool is_private_name(std::string_view name);

}  // namespace rooster::dns
