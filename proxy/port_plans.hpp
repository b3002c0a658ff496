// PortPlans: what the apps' public services want on each TCP port, so that a listener knows before
// the first byte how to serve a connection. One per worker, changed by deltas; pure.
#pragma once

#include "config/app_config.hpp"
#include "core/ids.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace rooster::proxy {

/// How a port of a service is served, by its handlers.
enum class PortKind : std::uint8_t { Http, TlsHttp, Tls, PgTls, Raw };
inline constexpr std::size_t kPortKinds = 5;

PortKind kind_of(const config::Port& port);

/// The first exposed TCP port of `app` that answers on `external_port`, and its service.
struct ExposedPort {
  const config::Service* service = nullptr;
  const config::Port* port = nullptr;  ///< null: none
};
ExposedPort exposed_port(const config::AppConfig& app, std::uint16_t external_port);

/// How many apps want a port, by kind.
class PortPlan {
 public:
  std::uint32_t count(PortKind kind) const { return counts_[static_cast<std::size_t>(kind)]; }
  std::uint32_t http() const { return count(PortKind::Http) + count(PortKind::TlsHttp); }
  /// Those that are not HTTP.
  std::uint32_t others() const {
    return count(PortKind::Tls) + count(PortKind::PgTls) + count(PortKind::Raw);
  }
  /// The app that is alone on the port and doesn't speak HTTP.
  std::optional<AppId> only() const;

 private:
  friend class PortPlans;
  void add(PortKind kind, AppId app);
  void remove(PortKind kind, AppId app);

  std::array<std::uint32_t, kPortKinds> counts_{};
  std::uint64_t sum_of_ids_ = 0;  // of others(): with one of them it is its id
};

class PortPlans {
 public:
  /// Takes the app's public ports in, `before` (null: none) out.
  void adopt(AppId app, const config::AppConfig* before, const config::AppConfig* after);
  PortPlan at(std::uint16_t port) const;

 private:
  struct Range {
    std::uint16_t start;
    std::uint16_t end;
    PortKind kind;
    AppId app;
  };
  std::unordered_map<std::uint16_t, PortPlan> single_;
  std::vector<Range> ranges_;
};

}  // namespace rooster::proxy
