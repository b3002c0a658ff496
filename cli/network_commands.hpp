// The commands about members of the private networks: tokens, wireguard, ips, login. An operator's
// go by the admin socket; those that a token allows, by a login too.
#pragma once

#include "cli/login.hpp"
#include "cli/run_cli.hpp"
#include "core/error.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

/// Where these commands go and how they answer.
struct NetworkAsking {
  const Console& console;
  std::string config_file{};  ///< -c, or ""
  bool as_json = false;
};

/// "90d", "12h", "1h30m". nullopt: not one.
std::optional<std::chrono::seconds> parse_life(std::string_view text);

struct TokenChoice {
  std::string network = "default";
  std::vector<std::string> apps{};
  std::string rights = "connect";
  std::string note{};
  std::string life = "90d";  ///< "": for ever
  std::string id{};
};
int create_token(const NetworkAsking& asking, const TokenChoice& choice);
int list_tokens(const NetworkAsking& asking);
int revoke_token(const NetworkAsking& asking, const TokenChoice& choice);

struct PeerChoice {
  std::string network{};
  std::string region{};
  std::string name{};
  std::string file{};
  std::vector<std::string> apps{};
  std::string rights = "connect";
  std::string life{};
  bool split_dns = false;
  bool with_token = false;  ///< --enrol: its file leads Rooster's commands to further keys
};
int create_peer(const NetworkAsking& asking, PeerChoice choice);
int list_peers(const NetworkAsking& asking, const PeerChoice& choice);
int remove_peer(const NetworkAsking& asking, const PeerChoice& choice);
int reset_peer(const NetworkAsking& asking, PeerChoice choice);
int show_wireguard_status(const NetworkAsking& asking);

int list_ips(const NetworkAsking& asking, const std::string& app);
int list_private_ips(const NetworkAsking& asking, const std::string& app);

struct LoginChoice {
  std::string text{};        ///< the line's URL; "-": read from standard input
  std::string connect_to{};  ///< instead of what its host resolves to
};
int log_in(const NetworkAsking& asking, const LoginChoice& choice);

}  // namespace rooster::cli
