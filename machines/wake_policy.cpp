#include "machines/wake_policy.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace rooster::machines {
namespace {

char fold(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool refuse(std::string* why, std::string_view rule, std::string_view text) {
  if (why) why->assign(rule).append(text);
  return false;
}

template <class Matches>
const std::string* find_rule(const std::vector<std::string>& rules, Matches matches) {
  auto found = std::ranges::find_if(rules, matches);
  return found != rules.end() ? &*found : nullptr;
}

}  // namespace

bool may_wake(const config::WakePolicy& policy, const WakeAttempt& attempt, std::string* why) {
  const auto holds_source = [&](const std::string& range) {
    return in_range(attempt.source, range);
  };
  if (const auto* range = find_rule(policy.deny_ranges, holds_source)) {
    return refuse(why, "source is in deny_ranges ", *range);
  }
  if (!policy.allow_ranges.empty() && !find_rule(policy.allow_ranges, holds_source)) {
    return refuse(why, "source is not in allow_ranges", "");
  }
  if (attempt.only_sni && (!policy.sni_prewake || policy.has_request_rule())) {
    return refuse(why, "a TLS hello alone does not wake", "");
  }
  if (attempt.method.empty()) return true;  // no request: nothing else to hold against it
  if (!policy.allow_methods.empty() &&
      std::ranges::find(policy.allow_methods, attempt.method) == policy.allow_methods.end()) {
    return refuse(why, "method is not in allow_methods", "");
  }
  const auto matches_agent = [&](const std::string& glob) {
    return matches_glob(glob, attempt.user_agent, true);
  };
  if (const auto* glob = find_rule(policy.deny_user_agents, matches_agent)) {
    return refuse(why, "user agent is in deny_user_agents ", *glob);
  }
  const auto matches_path = [&](const std::string& glob) {
    return matches_glob(glob, attempt.path);
  };
  if (const auto* glob = find_rule(policy.deny_paths, matches_path)) {
    return refuse(why, "path is in deny_paths ", *glob);
  }
  if (!policy.allow_paths.empty() && !find_rule(policy.allow_paths, matches_path)) {
    return refuse(why, "path is not in allow_paths", "");
  }
  return true;
}

bool matches_glob(std::string_view glob, std::string_view text, bool ignore_case) {
  const auto same = [&](char pattern, char c) {
    return pattern == '?' || pattern == c || (ignore_case && fold(pattern) == fold(c));
  };
  std::size_t g = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_text = 0;
  // Only the last star is ever tried again: an earlier one has matched as little as it could.
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      star_text = t;
    } else if (g < glob.size() && same(glob[g], text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

bool in_range(const IpAddress& address, std::string_view range) {
  const std::size_t slash = range.find('/');
  const auto base = IpAddress::parse(range.substr(0, slash));
  if (!base || base->is_v4() != address.is_v4()) return false;
  unsigned bits = 128;
  if (slash != std::string_view::npos) {
    const std::string_view text = range.substr(slash + 1);
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), bits);
    if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return false;
    if (base->is_v4()) bits += 96;  // the mapped form's prefix
    if (bits > 128) return false;
  }
  for (unsigned i = 0; i < 16 && bits > 0; ++i) {
    const unsigned here = std::min(bits, 8U);
    const unsigned mask = (0xFF00U >> here) & 0xFFU;
    if ((address.bytes()[i] & mask) != (base->bytes()[i] & mask)) return false;
    bits -= here;
  }
  return true;
}

}  // namespace rooster::machines
