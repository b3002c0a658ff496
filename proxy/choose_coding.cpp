#include "proxy/choose_coding.hpp"

#include "proxy/head_line.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace rooster::proxy {
namespace {

// Thousandths of "0.8", "1" and the like (RFC 9110 §12.4.2); nullopt: not a weight.
std::optional<int> read_weight(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return std::nullopt;
  int weight = (text[0] - '0') * 1000;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  int unit = 100;
  for (std::size_t at = 2; at < text.size(); ++at, unit /= 10) {
    if (text[at] < '0' || text[at] > '9') return std::nullopt;
    weight += (text[at] - '0') * unit;
  }
  return weight <= 1000 ? std::optional(weight) : std::nullopt;
}

struct Wish {
  std::string_view name;
  int weight = 1000;
};

// "gzip;q=0.5": an element without a weight we understand is none.
std::optional<Wish> read_wish(std::string_view element) {
  const std::size_t semicolon = element.find(';');
  Wish wish{.name = trim_blanks(element.substr(0, semicolon))};
  if (semicolon == std::string_view::npos) return wish;
  const std::string_view parameter = trim_blanks(element.substr(semicolon + 1));
  if (parameter.size() < 2 || (parameter[0] | 0x20) != 'q' || parameter[1] != '=') {
    return std::nullopt;
  }
  const auto weight = read_weight(parameter.substr(2));
  if (!weight) return std::nullopt;
  wish.weight = *weight;
  return wish;
}

// What the client gives to each coding; -1: it said nothing about it.
struct Weights {
  static constexpr int kUnsaid = -1;
  std::array<int, 4> of{kUnsaid, kUnsaid, kUnsaid, kUnsaid};
  int other = kUnsaid;

  int& operator[](Coding coding) { return of[static_cast<std::size_t>(coding)]; }
  void add(const Wish& wish) {
    using enum Coding;
    if (wish.name == "*") {
      other = wish.weight;
    } else if (equals_lower(wish.name, "gzip") || equals_lower(wish.name, "x-gzip")) {
      (*this)[Gzip] = wish.weight;
    } else if (equals_lower(wish.name, "br")) {
      (*this)[Brotli] = wish.weight;
    } else if (equals_lower(wish.name, "zstd")) {
      (*this)[Zstd] = wish.weight;
    } else if (equals_lower(wish.name, "identity")) {
      (*this)[Identity] = wish.weight;
    }
  }
};

bool ends_with_lower(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && equals_lower(text.substr(text.size() - end.size()), end);
}

bool begins_with_lower(std::string_view text, std::string_view beginning) {
  return text.size() >= beginning.size() &&
         equals_lower(text.substr(0, beginning.size()), beginning);
}

bool forbids_transforming(std::string_view cache_control) {
  TokenList directives(cache_control);
  for (auto word = directives.next(); !word.empty(); word = directives.next()) {
    if (equals_lower(word, "no-transform")) return true;
  }
  return false;
}

// A digest of the bytes as they are, or a part of them: both end with another coding.
bool binds_bytes(std::string_view name) {
  static constexpr auto kNames = std::to_array<std::string_view>(
      {"content-range", "content-md5", "digest", "content-digest", "repr-digest"});
  return std::ranges::any_of(kNames, [&](auto known) { return equals_lower(name, known); });
}

}  // namespace

std::string_view coding_name(Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return "";
    case Coding::Gzip:
      return "gzip";
    case Coding::Brotli:
      return "br";
    case Coding::Zstd:
      return "zstd";
  }
  return "";
}

Coding choose_coding(const RequestHead& request) {
  Weights weights;
  for (const Field& field : request.fields()) {
    if (field.kind != FieldKind::AcceptEncoding) continue;
    TokenList elements(field.value);
    for (auto element = elements.next(); !element.empty(); element = elements.next()) {
      if (const auto wish = read_wish(element)) weights.add(*wish);
    }
  }
  Coding best = Coding::Identity;
  int best_weight = std::max(weights[Coding::Identity] - 1, 0);
  for (const Coding coding : {Coding::Zstd, Coding::Brotli, Coding::Gzip}) {
    const int said = weights[coding];
    const int weight = said == Weights::kUnsaid ? weights.other : said;
    if (weight <= best_weight) continue;
    best = coding;
    best_weight = weight;
  }
  return best;
}

bool is_compressible_type(std::string_view content_type) {
  const std::string_view type = trim_blanks(content_type.substr(0, content_type.find(';')));
  if (begins_with_lower(type, "text/")) return !equals_lower(type, "text/event-stream");
  if (ends_with_lower(type, "+json") || ends_with_lower(type, "+xml")) return true;
  static constexpr auto kTypes = std::to_array<std::string_view>(
      {"application/json", "application/javascript", "application/x-javascript", "application/xml",
       "application/wasm", "application/x-ndjson", "application/graphql", "application/rtf",
       "application/sql", "application/toml", "application/yaml", "application/vnd.ms-fontobject",
       "font/ttf", "font/otf", "font/collection", "image/bmp", "image/x-icon",
       "image/vnd.microsoft.icon"});
  return std::ranges::any_of(kTypes, [&](auto known) { return equals_lower(type, known); });
}

bool may_be_compressed(const ResponseHead& response, std::span<const config::HeaderRule> rules) {
  if (response.status < 200 || response.status == 204 || response.status == 206 ||
      response.status == 304) {
    return false;
  }
  // The operator's own Content-Encoding would stand in the place of ours.
  for (const config::HeaderRule& rule : rules) {
    if (equals_lower(rule.name, "content-encoding")) return false;
  }
  bool is_type = false;
  for (const Field& field : response.fields()) {
    switch (field.kind) {
      case FieldKind::ContentEncoding:
        return false;
      case FieldKind::CacheControl:
        if (forbids_transforming(field.value)) return false;
        break;
      case FieldKind::ContentType:
        is_type = is_compressible_type(field.value);
        break;
      case FieldKind::Other:
        if (binds_bytes(field.name)) return false;
        break;
      default:
        break;
    }
  }
  return is_type;
}

}  // namespace rooster::proxy
