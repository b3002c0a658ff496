#include "proxy/affinity.hpp"

#include "proxy/head_line.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::proxy {
namespace {

std::string_view find_header(const RequestHead& head, std::string_view name) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  for (const Field& field : head.fields()) {
    if (std::ranges::equal(field.name, name,
                           [&](char a, char b) { return lower(a) == lower(b); })) {
      return field.value;
    }
  }
  return {};
}

}  // namespace

std::string_view find_cookie(const RequestHead& head, std::string_view name) {
  for (const Field& field : head.fields()) {
    if (field.kind != FieldKind::Cookie) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::size_t end = rest.find(';');
      const std::string_view pair = trim_blanks(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      if (pair.size() > name.size() && pair[name.size()] == '=' && pair.starts_with(name)) {
        return pair.substr(name.size() + 1);
      }
    }
  }
  return {};
}

void add_affinity(const config::Affinity& affinity, const RequestHead& head, Steering& steering) {
  switch (affinity.kind) {
    case config::Affinity::Kind::None:
      return;
    case config::Affinity::Kind::Cookie:
      if (steering.prefer_instance.empty()) {
        steering.prefer_instance = find_cookie(head, affinity.name);
      }
      return;
    case config::Affinity::Kind::Header:
      steering.together = find_header(head, affinity.name);
      return;
  }
}

std::string affinity_cookie(const config::Affinity& affinity, const RequestHead& head,
                            std::string_view machine, bool is_https) {
  if (affinity.kind != config::Affinity::Kind::Cookie) return {};
  if (find_cookie(head, affinity.name) == machine) return {};
  return fmt::format("{}={}; Path=/; HttpOnly; SameSite=Lax{}", affinity.name, machine,
                     is_https ? "; Secure" : "");
}

}  // namespace rooster::proxy
