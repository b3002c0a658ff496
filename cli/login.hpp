// Login: a token for one network of one node, and how to know that node. `rooster login` keeps it
// under the state folder, <node>/<network>/login.json; a peer's file may carry one too.
#pragma once

#include "core/error.hpp"
#include "net/secure.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::cli {

struct Login {
  using Pin = std::array<std::uint8_t, 32>;

  std::string host;  ///< "rooster.app.dev"
  std::uint16_t port = 443;
  std::string token;
  std::optional<Pin> pin{};  ///< of the local CA's key; absent: the system's authorities count
  std::string network{};     ///< "" until the node has said it
  std::string connect_to{};  ///< where to connect instead of what `host` resolves to; "": nowhere
  std::string folder{};      ///< its own, with its slots

  /// "https://rooster.app.dev", with the port unless it is 443.
  std::string url() const;
  /// "rooster.app.dev" or "rooster.app.dev_8443": the name of its folder.
  std::string node_name() const;
  /// The token's own name, of which the gateway speaks.
  std::string token_id() const;
  /// Whom to trust as this node. Errors: Internal.
  Result<net::ClientTls> tls() const;
};

/// "https://rooster.app.dev#<token>.<pin>", as `rooster tokens create` prints it; the pin may be
/// missing. Errors: BadRequest, what is wrong with it.
Result<Login> parse_login(std::string_view text);
/// "https://rooster.app.dev pin=sha256:<pin> token=<token>", as a peer's file has it.
Result<Login> parse_enrol_comment(std::string_view text);
std::string to_enrol_comment(const Login& login);

/// Keeps it, as the one that is used where nothing else is said. `login.network` is set.
/// Errors: Internal, with the file.
Result<Login> keep_login(Login login);
/// The one for `network`, else the one kept last. Errors: NoRoute, with what to do: none is kept,
/// none for this network, or several nodes have it.
Result<Login> find_login(const std::string& network);

}  // namespace rooster::cli
