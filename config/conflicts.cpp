// Rules over all apps: one name and one route, one app. An index over 100 000 apps is built in some
// tens of milliseconds, so each changed reload builds it anew.
#include "config/config_set.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <fstream>
#include <unordered_map>

namespace rooster::config {
namespace {

constexpr std::size_t kMaxConflicts = 100;

/// Where one file claims a key.
struct Claim {
  const AppFile* file;
  std::uint32_t hostname;  ///< index into rooster.hostnames; kDefaultName: <app>.<domain>
};
constexpr std::uint32_t kDefaultName = UINT32_MAX;

Place place_of(const Claim& claim) {
  if (claim.hostname != kDefaultName) return claim.file->places.hostnames[claim.hostname];
  const Place place = claim.file->places.app;
  return place.line > 0 ? place : Place{1, 1};
}

std::string key_of(const Claim& claim) {
  return claim.hostname == kDefaultName ? "app"
                                        : fmt::format("rooster.hostnames[{}]", claim.hostname);
}

/// Read again: only a conflict needs it, and then the text is of use to the reader.
std::string source_line(const std::string& path, std::uint32_t number) {
  constexpr std::size_t kMaxBytes = 200;
  std::ifstream file(path);
  std::string line;
  for (std::uint32_t at = 0; at < number && std::getline(file, line);) ++at;
  if (line.ends_with('\r')) line.pop_back();
  return line.substr(0, kMaxBytes);
}

class Index {
 public:
  Index(const ConfigSet& set, std::vector<Diagnostic>& diagnostics)
      : suffix_('.' + set.node.reloadable.domain),
        gateway_(set.node.gateway_host()),
        diagnostics_(diagnostics) {
    names_.reserve(set.files.size());
  }

  /// First of all files the names, then what they claim beside these.
  void add_name(const AppFile& file) {
    const auto [known, fresh] = names_.emplace(file.app->name, Claim{&file, kDefaultName});
    if (fresh) return;
    conflict({&file, kDefaultName}, known->second, fmt::format("the name \"{}\"", file.app->name),
             "give one of them another name");
  }

  void add_routes(const AppFile& file) {
    const auto& hostnames = file.app->rooster.hostnames;
    for (std::uint32_t i = 0; i < hostnames.size(); ++i) claim(hostnames[i], {&file, i});
    add_raw_ports(file);
  }

 private:
  void claim(std::string_view hostname, Claim by) {
    if (hostname == gateway_) {
      report(by, fmt::format("{} is the node's own, for peers of the private network; remove it",
                             hostname));
      return;
    }
    const auto taken = [&](const Claim& earlier) {
      if (earlier.file == by.file) return;
      conflict(by, earlier, fmt::format("the route {}", hostname), "remove it from one of them");
    };
    // <app>.<domain> is every app's by its name; no entry of its own is needed.
    if (hostname.ends_with(suffix_)) {
      const auto named = names_.find(hostname.substr(0, hostname.size() - suffix_.size()));
      if (named != names_.end()) taken(named->second);
    }
    if (const auto [known, fresh] = claims_.emplace(hostname, by); !fresh) taken(known->second);
  }

  /// Without TLS or HTTP nothing but the port says which app is meant; apps that name hostnames may
  /// share one, and TLS that passes through says which.
  void add_raw_ports(const AppFile& file) {
    if (file.app->rooster.is_public != true) return;
    for (const auto& service : file.app->services) {
      for (const auto& port : service.ports) {
        const bool named =
            port.has(Handler::Tls) || port.has(Handler::Http) || port.has(Handler::PgTls);
        if (named && service.protocol == Protocol::Tcp) continue;
        const char* const protocol = service.protocol == Protocol::Tcp ? "tcp" : "udp";
        for (const auto& [start, end, is_tcp, owner] : raw_) {
          const bool apart = port.start > end || start > port.end;
          if (apart || is_tcp != (service.protocol == Protocol::Tcp) || owner == &file) continue;
          const bool by_name =
              !file.app->rooster.hostnames.empty() && !owner->app->rooster.hostnames.empty();
          if (is_tcp && by_name) continue;
          conflict({&file, kDefaultName}, {owner, kDefaultName},
                   fmt::format("the public port {}/{}", port.start, protocol),
                   "write public = false in one of them");
          break;
        }
        raw_.push_back({port.start, port.end, service.protocol == Protocol::Tcp, &file});
      }
    }
  }

  void conflict(const Claim& later, const Claim& earlier, const std::string& what,
                std::string_view mend) {
    const Place there = place_of(earlier);
    report(later, fmt::format("{} is taken by {}:{}:{}; {}", what, earlier.file->app->file,
                              there.line, there.column, mend));
  }

  void report(const Claim& claim, std::string message) {
    if (++conflicts_ > kMaxConflicts) return;
    const Place here = place_of(claim);
    const std::string& path = claim.file->app->file;
    diagnostics_.push_back({Severity::Error, path, here, key_of(claim), std::move(message),
                            source_line(path, here.line)});
  }

  struct RawPort {
    std::uint16_t start;
    std::uint16_t end;
    bool is_tcp;
    const AppFile* owner;
  };

  std::string suffix_;
  std::string gateway_;
  std::vector<Diagnostic>& diagnostics_;
  std::unordered_map<std::string_view, Claim> names_;
  std::unordered_map<std::string_view, Claim> claims_;  ///< by hostname
  std::vector<RawPort> raw_;  ///< few apps have one: each needs a port of its own
  std::size_t conflicts_ = 0;
};

}  // namespace

void find_conflicts(const ConfigSet& set, std::vector<Diagnostic>& diagnostics) {
  Index index(set, diagnostics);
  for (const auto& file : set.files) index.add_name(*file);
  for (const auto& file : set.files) index.add_routes(*file);
}

}  // namespace rooster::config
