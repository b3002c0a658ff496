// tls_options and http_options of a port (Fly's reference: configuration).
#include "config/app_reader.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::config {
namespace {

constexpr std::uint64_t kMostSeconds = 24UL * 3600;

void read_response_headers(TableReader& response, HttpOptions& options) {
  const Node* const headers = response.table("headers");
  if (headers == nullptr) return;
  for (const auto& [name, place, value] : headers->members) {
    const std::string path = response.path("headers." + name);
    HeaderRule rule{.name = name, .values = std::nullopt};
    const auto is_token = [](std::string_view text) {  // RFC 9110 §5.6.2
      return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
      });
    };
    const auto is_value = [](std::string_view text) {
      return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
    };
    if (!is_token(name)) {
      response.report().error(place, path, "not a header's name; use letters, digits and dashes");
      continue;
    }
    if (value.is(Node::Kind::Boolean)) {
      if (value.boolean) response.wrong_type(value, path, "false to remove it, or its text");
    } else if (value.is(Node::Kind::Array)) {
      rule.values.emplace();
      for (const auto& item : value.items) {
        if (item.is(Node::Kind::String) && is_value(item.text)) {
          rule.values->push_back(item.text);
        } else {
          response.wrong_type(item, path, "text in quotes, on one line");
        }
      }
    } else if (const auto text = scalar_text(value); text && is_value(*text)) {
      rule.values = std::vector{*text};
    } else {
      response.wrong_type(value, path, "text on one line, a list of texts, or false to remove it");
    }
    options.response_headers.push_back(std::move(rule));
  }
}

void read_replay_cache(TableReader& reader, HttpOptions& options) {
  std::size_t index = 0;
  for (const Node* const table : reader.tables("replay_cache")) {
    TableReader inner(*table, reader.item_path("replay_cache", index++), reader.report());
    ReplayCacheRule rule;
    std::uint32_t ttl = static_cast<std::uint32_t>(rule.ttl.count());
    inner.read("path_prefix", rule.path_prefix);
    inner.read_number("ttl_seconds", ttl, 1, kMostSeconds);
    rule.ttl = std::chrono::seconds{ttl};
    inner.read("type", rule.type);
    inner.read("name", rule.name);
    inner.read("allow_bypass", rule.allow_bypass);
    inner.finish();
    if (rule.type != "cookie" && rule.type != "header") {
      inner.report().error(table->place, inner.path("type"),
                           "write \"cookie\" or \"header\"; one is needed");
    }
    options.replay_cache.push_back(std::move(rule));
  }
}

}  // namespace

TlsOptions read_tls_options(const Node& table, const std::string& path, Report& report) {
  TableReader reader(table, path, report);
  TlsOptions options;
  reader.read_texts("alpn", options.alpn);
  reader.read_texts("versions", options.versions);
  reader.read("default_self_signed", options.default_self_signed);
  for (std::size_t i = 0; i < options.versions.size(); ++i) {
    if (options.versions[i] == "TLSv1.2" || options.versions[i] == "TLSv1.3") continue;
    report.error(
        reader.find("versions")->value.place, reader.item_path("versions", i),
        fmt::format("\"{}\" is not served; write \"TLSv1.2\" or \"TLSv1.3\"", options.versions[i]));
  }
  for (std::size_t i = 0; i < options.alpn.size(); ++i) {
    if (!options.alpn[i].empty() && options.alpn[i].size() <= 255) continue;  // RFC 7301 §3.1
    report.error(reader.find("alpn")->value.place, reader.item_path("alpn", i),
                 "a protocol's name has 1 to 255 bytes; write \"h2\" or \"http/1.1\"");
  }
  reader.finish();
  return options;
}

HttpOptions read_http_options(const Node& table, const std::string& path, Report& report) {
  TableReader reader(table, path, report);
  HttpOptions options;
  reader.read("compress", options.compress);
  reader.read("h2_backend", options.h2_backend);
  if (const Node* const response = reader.table("response")) {
    TableReader inner(*response, reader.path("response"), report);
    inner.read("pristine", options.pristine);
    read_response_headers(inner, options);
    inner.finish();
  }
  const auto seconds = [&](std::string_view key, std::optional<std::chrono::seconds>& to) {
    std::uint32_t value = 0;
    const bool present = table.find(key) != nullptr;
    reader.read_number(key, value, 0, kMostSeconds);
    if (present && value > 0) to = std::chrono::seconds{value};
  };
  seconds("idle_timeout", options.idle_timeout);
  seconds("headers_read_timeout", options.headers_read_timeout);
  read_replay_cache(reader, options);
  reader.finish();
  return options;
}

}  // namespace rooster::config
