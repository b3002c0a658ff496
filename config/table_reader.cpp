#include "config/table_reader.hpp"

#include "config/scalars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace rooster::config {

using std::chrono::milliseconds;

TableReader::TableReader(const Node& table, std::string path, Report& report, Severity unknown)
    : table_(table),
      path_(std::move(path)),
      report_(report),
      unknown_(unknown),
      used_(table.members.size(), false) {}

const Member* TableReader::find(std::string_view key) {
  known_.push_back(key);
  for (std::size_t i = 0; i < table_.members.size(); ++i) {
    if (table_.members[i].key != key) continue;
    used_[i] = true;
    return &table_.members[i];
  }
  return nullptr;
}

void TableReader::accept(std::initializer_list<std::string_view> keys) {
  for (const auto key : keys) find(key);
}

std::string TableReader::path(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

std::string TableReader::item_path(std::string_view key, std::size_t index) const {
  return fmt::format("{}[{}]", path(key), index);
}

void TableReader::wrong_type(const Node& node, const std::string& key, std::string_view expected) {
  report_.error(node.place, key,
                fmt::format("{} is not accepted here; write {}", in_words(node.kind), expected));
}

void TableReader::read(std::string_view key, bool& to) {
  const Member* const member = find(key);
  if (member == nullptr) return;
  if (member->value.is(Node::Kind::Boolean)) {
    to = member->value.boolean;
  } else {
    wrong_type(member->value, path(key), "true or false, without quotes");
  }
}

void TableReader::read(std::string_view key, std::optional<bool>& to) {
  bool value = false;
  const std::size_t before = known_.size();
  const Member* const member = find(key);
  known_.resize(before);
  if (member == nullptr) {
    known_.push_back(key);
    return;
  }
  read(key, value);
  if (member->value.is(Node::Kind::Boolean)) to = value;
}

void TableReader::read(std::string_view key, std::string& to) {
  const Member* const member = find(key);
  if (member == nullptr) return;
  if (member->value.is(Node::Kind::String)) {
    to = member->value.text;
  } else {
    wrong_type(member->value, path(key), "text in quotes");
  }
}

std::optional<std::uint64_t> TableReader::number_of(const Member* member, std::uint64_t least,
                                                    std::uint64_t most, bool as_text) {
  if (member == nullptr) return std::nullopt;
  const Node& node = member->value;
  const std::string wanted = fmt::format("a whole number from {} to {}", least, most);
  std::int64_t number = node.integer;
  if (as_text && node.is(Node::Kind::String)) {
    const char* const end = node.text.data() + node.text.size();
    const auto [stop, failed] = std::from_chars(node.text.data(), end, number);
    if (failed != std::errc{} || stop != end) {
      report_.error(node.place, path(member->key),
                    fmt::format("\"{}\" is not a number; write {}", node.text, wanted));
      return std::nullopt;
    }
  } else if (!node.is(Node::Kind::Integer)) {
    wrong_type(node, path(member->key), wanted);
    return std::nullopt;
  }
  if (number < 0 || std::cmp_less(number, least) || std::cmp_greater(number, most)) {
    report_.error(node.place, path(member->key),
                  fmt::format("{} is out of range; write {}", number, wanted));
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(number);
}

bool TableReader::read_duration(std::string_view key, milliseconds& to, DurationBounds bounds) {
  const Member* const member = find(key);
  if (member == nullptr) return false;
  const Node& node = member->value;
  std::optional<milliseconds> value;
  if (node.is(Node::Kind::String)) {
    if (node.text.empty()) return false;
    value = parse_duration(node.text);
  } else if (node.is(Node::Kind::Integer) && node.integer >= 0 &&
             node.integer < 1'000'000'000'000) {
    value = milliseconds{node.integer * (bounds.bare == BareNumber::Seconds ? 1000 : 1)};
  } else if (!node.is(Node::Kind::Integer)) {
    wrong_type(node, path(key), "a duration such as \"30s\" or \"5m\"");
    return false;
  }
  if (!value) {
    report_.error(node.place, path(key),
                  "not a duration; write one such as \"300ms\", \"30s\" or \"1h30m\"");
    return false;
  }
  if (*value < bounds.least || *value > bounds.most) {
    report_.error(node.place, path(key),
                  fmt::format("{} is out of range; write a duration from {} to {}", to_text(*value),
                              to_text(bounds.least), to_text(bounds.most)));
    return false;
  }
  to = *value;
  return true;
}

bool TableReader::read_texts(std::string_view key, std::vector<std::string>& to) {
  const Member* const member = find(key);
  if (member == nullptr) return false;
  if (!member->value.is(Node::Kind::Array)) {
    wrong_type(member->value, path(key), "a list of texts: [\"…\"]");
    return false;
  }
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < member->value.items.size(); ++i) {
    const Node& item = member->value.items[i];
    if (item.is(Node::Kind::String)) {
      texts.push_back(item.text);
    } else {
      wrong_type(item, item_path(key, i), "text in quotes");
    }
  }
  to = std::move(texts);
  return true;
}

const Node* TableReader::table(std::string_view key) {
  const Member* const member = find(key);
  if (member == nullptr) return nullptr;
  if (member->value.is(Node::Kind::Table)) return &member->value;
  wrong_type(member->value, path(key), fmt::format("a table: [{}]", path(key)));
  return nullptr;
}

std::vector<const Node*> TableReader::tables(std::string_view key) {
  const Member* const member = find(key);
  if (member == nullptr) return {};
  if (member->value.is(Node::Kind::Table)) return {&member->value};
  std::vector<const Node*> found;
  if (!member->value.is(Node::Kind::Array)) {
    wrong_type(member->value, path(key), fmt::format("a table: [[{}]]", path(key)));
    return found;
  }
  for (std::size_t i = 0; i < member->value.items.size(); ++i) {
    const Node& item = member->value.items[i];
    if (item.is(Node::Kind::Table)) {
      found.push_back(&item);
    } else {
      wrong_type(item, item_path(key, i), fmt::format("a table: [[{}]]", path(key)));
    }
  }
  return found;
}

void TableReader::finish() {
  for (std::size_t i = 0; i < table_.members.size(); ++i) {
    if (used_[i]) continue;
    const Member& member = table_.members[i];
    std::string message = "unknown key";
    const auto home = home_of(member.key);
    const auto meant = nearest(member.key, known_);
    if (!home.empty()) {
      message += fmt::format(" here; it belongs under {}", home);
    } else if (!meant.empty()) {
      message += fmt::format("; did you mean \"{}\"?", meant);
    } else {
      message += "; remove it";
    }
    if (unknown_ == Severity::Error) {
      report_.error(member.place, path(member.key), std::move(message));
    } else {
      report_.warn(member.place, path(member.key), std::move(message));
    }
  }
}

std::optional<std::string> scalar_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::String:
    case Node::Kind::Time:
      return node.text;
    case Node::Kind::Integer:
      return fmt::format("{}", node.integer);
    case Node::Kind::Float:
      return fmt::format("{}", node.real);
    case Node::Kind::Boolean:
      return node.boolean ? "true" : "false";
    case Node::Kind::Array:
    case Node::Kind::Table:
      return std::nullopt;
  }
  return std::nullopt;
}

std::string_view home_of(std::string_view key) {
  struct Home {
    std::string_view key;
    std::string_view table;
  };
  static constexpr std::array kHomes{
      Home{"app", "the top of the file, before the first [table]"},
      Home{"primary_region", "the top of the file, before the first [table]"},
      Home{"kill_signal", "the top of the file, before the first [table]"},
      Home{"kill_timeout", "the top of the file, before the first [table]"},
      Home{"internal_port", "[http_service] or [[services]]"},
      Home{"auto_stop_machines", "[http_service] or [[services]]"},
      Home{"auto_start_machines", "[http_service] or [[services]]"},
      Home{"min_machines_running", "[http_service] or [[services]]"},
      Home{"force_https", "[http_service] or [[services.ports]]"},
      Home{"protocol", "[[services]]"},
      Home{"concurrency", "[http_service] or [[services]]"},
      Home{"soft_limit", "[http_service.concurrency] or [services.concurrency]"},
      Home{"hard_limit", "[http_service.concurrency] or [services.concurrency]"},
      Home{"handlers", "[[services.ports]]"},
      Home{"start_port", "[[services.ports]]"},
      Home{"end_port", "[[services.ports]]"},
      Home{"proxy_proto_options", "[[services.ports]]"},
      Home{"http_options", "[http_service] or [[services.ports]]"},
      Home{"tls_options", "[http_service] or [[services.ports]]"},
      Home{"compress", "[http_service.http_options]"},
      Home{"h2_backend", "[http_service.http_options]"},
      Home{"headers_read_timeout", "[http_service.http_options]"},
      Home{"pristine", "[http_service.http_options.response]"},
      Home{"alpn", "[http_service.tls_options]"},
      Home{"tcp_checks", "[[services]]"},
      Home{"http_checks", "[[services]]"},
      Home{"grace_period", "[[http_service.checks]]"},
      Home{"guest_path", "[[statics]]"},
      Home{"url_prefix", "[[statics]]"},
      Home{"destination", "[mounts]"},
      Home{"memory", "[[vm]]"},
      Home{"cpus", "[[vm]]"},
      Home{"cpu_kind", "[[vm]]"},
      Home{"strategy", "[deploy]"},
      Home{"release_command", "[deploy]"},
      Home{"dockerfile", "[build]"},
      Home{"image", "[build]"},
      Home{"driver", "[rooster]"},
      Home{"directory", "[rooster]"},
      Home{"hostnames", "[rooster]"},
      Home{"wake_timeout", "[rooster]"},
      Home{"idle_timeout", "[rooster], or http_options for connections to the app"},
      Home{"min_machines", "[rooster]"},
      Home{"max_machines", "[rooster]"},
      Home{"sni_prewake", "[rooster.wake]"},
      Home{"trusted_proxies", "[listen]"},
      Home{"proxy_protocol_from", "[listen]"},
      Home{"certificates", "[tls]"},
      Home{"internal_wake", "[rooster]"},
      Home{"network_mode", "[rooster]"},
      Home{"exec_as_root", "[rooster]"},
      Home{"peer_timeout", "[rooster]"},
      Home{"upstream", "[dns]"},
      Home{"endpoint", "[wireguard]"},
  };
  const auto* const found = std::ranges::find(kHomes, key, &Home::key);
  return found == kHomes.end() ? std::string_view() : found->table;
}

}  // namespace rooster::config
