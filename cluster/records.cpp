#include "cluster/records.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace rooster::cluster {
namespace {

constexpr std::size_t kMostApps = 1000;
constexpr std::size_t kMostNameBytes = 63;  // a label of DNS (RFC 1035 §2.3.4)
constexpr std::array<std::pair<std::string_view, Right>, 3> kRights{
    {{"connect", Right::Connect}, {"exec", Right::Exec}, {"peers", Right::Peers}}};

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_allowed(const std::vector<std::string>& apps, std::string_view app) {
  return apps.empty() || std::ranges::any_of(apps, [key = name_key(app)](const std::string& one) {
           return name_key(one) == key;
         });
}

}  // namespace

std::optional<Rights> Rights::parse(std::string_view text) {
  unsigned bits = 0;
  while (true) {
    const std::size_t comma = text.find(',');
    const auto* const found = std::ranges::find(kRights, text.substr(0, comma),
                                                &std::pair<std::string_view, Right>::first);
    if (found == kRights.end()) return std::nullopt;
    bits |= static_cast<unsigned>(found->second);
    if (comma == std::string_view::npos) return from_bits(bits);
    text.remove_prefix(comma + 1);
  }
}

std::string Rights::to_string() const {
  std::string text;
  for (const auto& [word, right] : kRights) {
    if (!has(right)) continue;
    if (!text.empty()) text += ',';
    text += word;
  }
  return text;
}

bool Peer::may_reach(std::string_view app) const {
  return rights.has(Right::Connect) && is_allowed(apps, app);
}

bool Token::allows(Right right, std::string_view app) const {
  return rights.has(right) && is_allowed(apps, app);
}

bool is_peer_name(std::string_view text) {
  return !text.empty() && text.size() <= kMostNameBytes && std::ranges::all_of(text, [](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-';
  });
}

bool is_network_name(std::string_view text) {
  return is_peer_name(text) && is_letter(text.front());
}

bool are_app_names(const std::vector<std::string>& apps) {
  return apps.size() <= kMostApps && std::ranges::all_of(apps, [](const std::string& app) {
           return !app.empty() && app.size() <= kMostNameBytes;
         });
}

std::string name_key(std::string_view name) {
  std::string key(name);
  for (char& c : key) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return key;
}

}  // namespace rooster::cluster
