// A document as TOML (tables with headers, in order) and as JSON.
#include "config/show.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::config {
namespace {

/// The escapes that TOML 1.0.0 and JSON (RFC 8259 §7) share.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

std::string key_text(std::string_view key) {
  const bool bare = !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  return bare ? std::string(key) : quoted(key);
}

std::string scalar(const Node& node) {
  switch (node.kind) {
    case Node::Kind::Integer:
      return fmt::format("{}", node.integer);
    case Node::Kind::Float:
      return fmt::format("{}", node.real);
    case Node::Kind::Boolean:
      return node.boolean ? "true" : "false";
    default:
      return quoted(node.text);
  }
}

bool is_table_list(const Node& node) {
  return node.is(Node::Kind::Array) && !node.items.empty() && node.items[0].is(Node::Kind::Table);
}

std::string inline_toml(const Node& node) {
  if (!node.is(Node::Kind::Array)) return scalar(node);
  std::string out = "[";
  for (const auto& item : node.items) {
    if (out.size() > 1) out += ", ";
    out += inline_toml(item);
  }
  return out + ']';
}

void write_toml(const Node& table, const std::string& path, std::string& out) {
  for (const auto& [key, place, value] : table.members) {
    if (value.is(Node::Kind::Table) || is_table_list(value)) continue;
    out += fmt::format("{} = {}\n", key_text(key), inline_toml(value));
  }
  for (const auto& [key, place, value] : table.members) {
    const std::string inner = path.empty() ? key_text(key) : path + '.' + key_text(key);
    if (value.is(Node::Kind::Table)) {
      out += fmt::format("\n[{}]\n", inner);
      write_toml(value, inner, out);
    } else if (is_table_list(value)) {
      for (const auto& item : value.items) {
        out += fmt::format("\n[[{}]]\n", inner);
        write_toml(item, inner, out);
      }
    }
  }
}

void write_json(const Node& node, std::size_t depth, std::string& out) {
  const bool is_table = node.is(Node::Kind::Table);
  if (!is_table && !node.is(Node::Kind::Array)) {
    out += scalar(node);
    return;
  }
  const std::size_t count = is_table ? node.members.size() : node.items.size();
  out += is_table ? '{' : '[';
  for (std::size_t i = 0; i < count; ++i) {
    out += i > 0 ? ",\n" : "\n";
    out.append(2 * (depth + 1), ' ');
    if (is_table) out += quoted(node.members[i].key) + ": ";
    write_json(is_table ? node.members[i].value : node.items[i], depth + 1, out);
  }
  if (count > 0) out += '\n' + std::string(2 * depth, ' ');
  out += is_table ? '}' : ']';
}

}  // namespace

std::string to_toml(const Node& document) {
  std::string out;
  write_toml(document, "", out);
  return out;
}

std::string to_json(const Node& document) {
  std::string out;
  write_json(document, 0, out);
  return out + '\n';
}

}  // namespace rooster::config
