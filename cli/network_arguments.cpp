#include "cli/network_arguments.hpp"

#include <CLI/CLI.hpp>

namespace rooster::cli {

NetworkAsking NetworkArguments::asking() const {
  return {.console = console_, .config_file = *config_file_, .as_json = *as_json_};
}

void NetworkArguments::add_to(CLI::App& root, const Add& add, const std::string& config_file,
                              const bool& as_json) {
  config_file_ = &config_file;
  as_json_ = &as_json;
  add_login(root, add);
  add_tokens(root, add);
  add_wireguard(root, add);
  add_ips(root, add);
}

void NetworkArguments::add_login(CLI::App& root, const Add& add) {
  CLI::App* login = add(root, "login", "Keep a token of a node, for proxy, ssh console and dig",
                        [this] { return log_in(asking(), login_); });
  login->add_option("url", login_.text, "https://rooster.<domain>#<token>.<pin>, or - to read it")
      ->required();
  login->add_option("--connect-to", login_.connect_to,
                    "The node's address, where its name does not resolve");
}

void NetworkArguments::add_tokens(CLI::App& root, const Add& add) {
  CLI::App* tokens = add(root, "tokens", "Who may come into the private networks", {});
  CLI::App* create = add(*tokens, "create", "Make a token; prints the line that logs in with it",
                         [this] { return create_token(asking(), token_); });
  create->add_option("--network", token_.network, "For this network");
  create->add_option("--apps", token_.apps, "Only these apps")->delimiter(',');
  create->add_option("--allow", token_.rights, "connect, exec, peers, or several with commas");
  create->add_option("--ttl", token_.life, "How long: 90d, 12h; '' for ever");
  create->add_option("--note", token_.note, "Whose it is");
  add(*tokens, "list", "All tokens", [this] { return list_tokens(asking()); });
  CLI::App* revoke = add(*tokens, "revoke", "End a token and the peers made with it",
                         [this] { return revoke_token(asking(), token_); });
  revoke->add_option("id", token_.id, "The token's id (rooster tokens list)")->required();
}

void NetworkArguments::add_wireguard(CLI::App& root, const Add& add) {
  CLI::App* wireguard = add(root, "wireguard", "Peers of the private networks", {});
  wireguard->alias("wg");
  CLI::App* create = add(*wireguard, "create", "A peer and its file for any WireGuard client",
                         [this] { return create_peer(asking(), peer_); });
  create->add_option("network", peer_.network, "Default: default");
  create->add_option("region", peer_.region, "Default: the gateway's");
  create->add_option("name", peer_.name, "Default: static-<host>-<unique>");
  create->add_option("file", peer_.file, "Default: rooster.conf; stdout to print it");
  create->add_option("--apps", peer_.apps, "Only these apps")->delimiter(',');
  create->add_option("--allow", peer_.rights, "connect, or connect,exec");
  create->add_option("--ttl", peer_.life, "How long: 90d, 12h; default: until it is removed");
  create->add_flag("--split-dns", peer_.split_dns,
                   "Ask the gateway for .internal and .flycast only (by resolvectl)");
  create->add_flag("--enrol", peer_.with_token,
                   "Let any number of rooster's commands use the file at once");
  CLI::App* list =
      add(*wireguard, "list", "All peers", [this] { return list_peers(asking(), peer_); });
  list->add_option("network", peer_.network, "Only of this network");
  CLI::App* remove = add(*wireguard, "remove", "End a peer, its connections and its token",
                         [this] { return remove_peer(asking(), peer_); });
  remove->add_option("network", peer_.network, "Its network")->required();
  remove->add_option("name", peer_.name, "Its name")->required();
  CLI::App* reset = add(*wireguard, "reset", "Another key for a peer: same name, same address",
                        [this] { return reset_peer(asking(), peer_); });
  reset->add_option("network", peer_.network, "Its network")->required();
  reset->add_option("name", peer_.name, "Its name")->required();
  reset->add_option("file", peer_.file, "Default: rooster.conf; stdout to print it");
  reset->add_flag("--split-dns", peer_.split_dns, "As for create");
  add(*wireguard, "status", "The gateway, and each peer's session",
      [this] { return show_wireguard_status(asking()); });
}

// The parent's action runs last, whatever stands below it.
void NetworkArguments::add_ips(CLI::App& root, const Add& add) {
  CLI::App* ips = add(root, "ips", "Private addresses of an app", [this] {
    return lists_machines_ ? list_private_ips(asking(), app_) : list_ips(asking(), app_);
  });
  ips->add_option("-a,--app", app_, "The app; default: $FLY_APP, fly.toml's");
  ips->add_subcommand("list", "The app's own address")->fallthrough();
  CLI::App* machines = ips->add_subcommand("private", "Its machines' addresses");
  machines->fallthrough();
  machines->callback([this] { lists_machines_ = true; });
}

}  // namespace rooster::cli
