#include "tests/dns/rcode_model.hpp"

#include <algorithm>
#include <regex>
#include <set>
#include <vector>

namespace rooster::dns::testing {
namespace {

constexpr unsigned kNoError = 0, kFormErr = 1, kNxDomain = 3, kNotImp = 4, kRefused = 5,
                   kBadVers = 16;

struct Bad {};  // thrown where the message ends too early or breaks a rule

struct Cursor {
  const std::string& bytes;
  std::size_t at = 0;

  unsigned byte() {
    if (at >= bytes.size()) throw Bad();
    return static_cast<unsigned char>(bytes[at++]);
  }
  unsigned number(int size) {
    unsigned value = 0;
    while (size-- > 0) value = value * 256 + byte();
    return value;
  }
  void skip(unsigned count) {
    while (count-- > 0) byte();
  }
};

/// Reads labels until the root; `jumps` says whether pointers are allowed.
std::vector<std::string> read_name(Cursor& cursor, bool jumps) {
  std::vector<std::string> labels;
  std::size_t behind = 0;
  std::size_t length_sum = 1;
  std::size_t part_began = cursor.at;
  while (const unsigned length = cursor.byte()) {
    if (length >= 192 && jumps) {
      const std::size_t target = (length - 192) * 256 + cursor.byte();
      if (target < 12 || target >= part_began) throw Bad();
      if (behind == 0) behind = cursor.at;
      cursor.at = part_began = target;
      continue;
    }
    length_sum += length + 1;
    if (length > 63 || length_sum > 255) throw Bad();
    std::string label;
    for (unsigned i = 0; i < length; ++i) label += static_cast<char>(cursor.byte());
    labels.push_back(label);
  }
  if (behind != 0) cursor.at = behind;
  return labels;
}

struct Parsed {
  std::vector<std::string> name;
  unsigned type = 0;
  unsigned klass = 0;
  bool has_opt = false;
  unsigned udp = 0;
  unsigned version = 0;
};

void read_additional(Cursor& cursor, Parsed& out) {
  const std::size_t began = cursor.at;
  read_name(cursor, true);
  const bool is_root = cursor.at - began == 1;
  const unsigned type = cursor.number(2);
  const unsigned klass = cursor.number(2);
  cursor.byte();
  const unsigned version = cursor.byte();
  cursor.skip(2);
  const unsigned length = cursor.number(2);
  const std::size_t end = cursor.at + length;
  if (end > cursor.bytes.size()) throw Bad();
  if (type == 41) {
    if (out.has_opt || !is_root) throw Bad();
    while (cursor.at < end) {
      cursor.skip(2);
      cursor.skip(cursor.number(2));
    }
    if (cursor.at != end) throw Bad();
    out.has_opt = true;
    out.udp = klass;
    out.version = version;
  }
  cursor.at = end;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

/// All names of the village but those of a pattern.
const std::set<std::string>& known_names() {
  static const std::set<std::string> names = [] {
    std::set<std::string> all = {
        "internal",
        "flycast",
        "web.flycast",
        "db.flycast",
        "_apps.internal",
        "_peer.internal",
        "laptop._peer.internal",
        "_api.internal",
        "_instances.internal",
        "all._instances.internal",
        "iad.web.internal",
        "gru.web.internal",
        "ord.web.internal",
        "iad.db.internal",
        "gru.db.internal",
        "gru.off.internal",
        "m1.vm.web.internal",
        "m2.vm.web.internal",
        "m3.vm.web.internal",
        "d1.vm.db.internal",
        "d2.vm.db.internal",
        "o1.vm.off.internal",
        "app.process.web.internal",
        "worker.process.web.internal",
        "app.process.db.internal",
        "app.process.off.internal",
        "role.kv._metadata.web.internal",
        "tier.kv._metadata.web.internal",
        "primary.role.kv._metadata.web.internal",
        "replica.role.kv._metadata.web.internal",
        "1.tier.kv._metadata.web.internal",
    };
    for (const std::string app : {"web", "db", "off", "empty"}) {
      for (const char* prefix :
           {"", "global.", "vms.", "regions.", "all.vms.", "all.regions.", "all.", "vm.",
            "process.", "of.", "nearest.of.", "_metadata.", "kv._metadata."}) {
        all.insert(prefix + app + ".internal");
      }
    }
    return all;
  }();
  return names;
}

bool exists(const std::string& name) {
  if (known_names().contains(name)) return true;
  static const std::regex top(R"(top[1-9][0-9]{0,18}\.nearest\.of\.(web|db|off|empty)\.internal)");
  if (std::regex_match(name, top)) return true;
  static const std::regex above(R"(([0-9a-f]\.){0,27}a\.a\.d\.f\.ip6\.arpa)");
  if (std::regex_match(name, above)) return true;
  const std::string zeros = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.";
  return name == "3." + zeros + "0.0.0.0.0.0.0.0.0.0.0.0.a.a.d.f.ip6.arpa" ||
         name == std::string("3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.") +
                     "0.b.8.7.2.0.0.0.a.a.d.f.ip6.arpa" ||
         name == std::string("2.0.0.0.1.0.0.0.0.0.0.0.1.0.0.0.b.7.a.0.") +
                     "0.b.8.7.2.0.0.0.a.a.d.f.ip6.arpa";
}

unsigned code_of_question(const Parsed& parsed, bool wants_recursion, bool& recurses) {
  if (parsed.klass != 1 || parsed.type == 251 || parsed.type == 252) return kRefused;
  if (parsed.type >= 128 && parsed.type <= 254) return kNotImp;
  std::string name;
  bool has_dot_inside = false;
  for (const std::string& label : parsed.name) {
    has_dot_inside = has_dot_inside || label.find('.') != std::string::npos;
    name += (name.empty() ? "" : ".") + lower(label);
  }
  const std::string last = parsed.name.empty() ? "" : lower(parsed.name.back());
  const bool is_plain = last == "internal" || last == "flycast";
  std::string end;
  for (std::size_t i = parsed.name.size(); i-- > 0 && parsed.name.size() - i <= 6;) {
    end = "." + lower(parsed.name[i]) + end;
  }
  const bool is_reverse = end == ".a.a.d.f.ip6.arpa";
  if (!is_plain && !is_reverse) {
    recurses = wants_recursion;
    return kRefused;
  }
  return exists(name) && !has_dot_inside ? kNoError : kNxDomain;
}

}  // namespace

Expected expected_of(const std::string& query) {
  using enum Expected::Kind;
  if (query.size() < 12 || (query[2] & 0x80) != 0) return {Silence};
  if ((query[2] & 0x78) != 0) return {Code, kNotImp, 512};
  Parsed parsed;
  const auto limit = [&] {
    return parsed.has_opt ? std::min(std::max(parsed.udp, 512u), 1232u) : 512u;
  };
  try {
    Cursor cursor{query, 4};
    const unsigned questions = cursor.number(2);
    const unsigned answers = cursor.number(2);
    const unsigned authorities = cursor.number(2);
    const unsigned additional = cursor.number(2);
    if (questions != 1 || answers != 0 || authorities != 0) throw Bad();
    parsed.name = read_name(cursor, false);
    parsed.type = cursor.number(2);
    parsed.klass = cursor.number(2);
    for (unsigned i = 0; i < additional; ++i) read_additional(cursor, parsed);
    if (cursor.at != query.size()) throw Bad();
    if (parsed.type == 0 || parsed.type == 41) throw Bad();
  } catch (const Bad&) {
    return {Code, kFormErr, limit()};
  }
  if (parsed.has_opt && parsed.version != 0) return {Code, kBadVers, limit()};
  bool recurses = false;
  const unsigned code = code_of_question(parsed, (query[2] & 1) != 0, recurses);
  if (recurses) return {Recursion, 0, limit()};
  return {Code, code, limit()};
}

}  // namespace rooster::dns::testing
