#include "dns/source_limits.hpp"

#include "core/private_address.hpp"

#include <algorithm>

namespace rooster::dns {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxSources = 16 * 1024;

// Who owns a prefix may ask from any address in it.
IpAddress key_of(const IpAddress& source) {
  switch (private_kind(source)) {
    case PrivateKind::Peer:
      return prefix_of(source, kPeerPrefixBits);
    case PrivateKind::Machine:
      return prefix_of(source, kMachinePrefixBits);
    default:
      return source;
  }
}

}  // namespace

// Whoever has asked nothing for a second has all its tokens again: nothing is lost with it.
// A full table is looked through once a second at most, however many new sources come.
void SourceLimits::forget_quiet(TimePoint now) {
  if (now - swept_ < 1s) return;
  swept_ = now;
  std::erase_if(sources_, [&](const auto& entry) {
    return entry.second.outstanding == 0 && now - entry.second.filled > 1s;
  });
}

bool SourceLimits::ask(const IpAddress& source, TimePoint now) {
  const IpAddress key = key_of(source);
  if (sources_.size() >= kMaxSources && !sources_.contains(key)) {
    forget_quiet(now);
    if (sources_.size() >= kMaxSources) return false;
  }
  const auto [at, is_new] = sources_.try_emplace(key, Source{.tokens = per_second_, .filled = now});
  Source& known = at->second;
  const double since = std::chrono::duration<double>(now - known.filled).count();
  known.tokens = std::min(per_second_, known.tokens + since * per_second_);
  known.filled = now;
  if (known.tokens < 1) return false;
  known.tokens -= 1;
  return true;
}

bool SourceLimits::enter(const IpAddress& source) {
  const auto found = sources_.find(key_of(source));
  if (found == sources_.end() || found->second.outstanding >= outstanding_) return false;
  ++found->second.outstanding;
  return true;
}

void SourceLimits::leave(const IpAddress& source) {
  const auto found = sources_.find(key_of(source));
  if (found != sources_.end() && found->second.outstanding > 0) --found->second.outstanding;
}

}  // namespace rooster::dns
