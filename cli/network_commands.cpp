#include "cli/network_commands.hpp"

#include "cli/developer_way.hpp"
#include "cli/network_call.hpp"
#include "cli/operator_commands.hpp"
#include "cli/terminal.hpp"
#include "config/scalars.hpp"
#include "core/json_text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <ostream>

namespace rooster::cli {
namespace {

using boost::json::value;

int print_json(const Console& console, const value& json) {
  console.out << boost::json::serialize(json) << '\n';
  return 0;
}

std::string joined(const value& object, std::string_view key, std::string_view if_none) {
  std::string text;
  for (const value& item : array_at(object, key)) {
    if (const auto* one = item.if_string()) text += (text.empty() ? "" : ",") + std::string(*one);
  }
  return text.empty() ? std::string(if_none) : text;
}

value member(const value& object, std::string_view key) {
  const auto* const members = object.if_object();
  const auto* const found = members == nullptr ? nullptr : members->if_contains(key);
  return found == nullptr ? value() : *found;
}

// A network's name becomes a folder's.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 63 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

// "12 s", "3 min", "5 h", "2 d".
std::string age_text(const std::string& seconds_text) {
  std::int64_t seconds = 0;
  const char* const end = seconds_text.data() + seconds_text.size();
  if (std::from_chars(seconds_text.data(), end, seconds).ec != std::errc()) return "never";
  if (seconds < 120) return fmt::format("{} s ago", seconds);
  if (seconds < 7200) return fmt::format("{} min ago", seconds / 60);
  if (seconds < 172'800) return fmt::format("{} h ago", seconds / 3600);
  return fmt::format("{} d ago", seconds / 86'400);
}

std::string size_text(const std::string& bytes_text) {
  double bytes = 0;
  const char* const end = bytes_text.data() + bytes_text.size();
  if (std::from_chars(bytes_text.data(), end, bytes).ec != std::errc()) return "-";
  constexpr std::array<std::string_view, 4> kUnits{"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

}  // namespace

std::optional<std::chrono::seconds> parse_life(std::string_view text) {
  if (text.ends_with('d')) {
    std::uint32_t days = 0;
    const char* const end = text.data() + text.size() - 1;
    const auto [stop, failed] = std::from_chars(text.data(), end, days);
    if (failed != std::errc() || stop != end || days == 0 || days > 3650) return std::nullopt;
    return std::chrono::days(days);
  }
  const auto duration = config::parse_duration(text);
  if (!duration || *duration < std::chrono::seconds(1)) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(*duration);
}

// ---- tokens

int create_token(const NetworkAsking& asking, const TokenChoice& choice) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().field("network", choice.network).field("rights", choice.rights);
  json.field("note", choice.note).key("apps").begin_array();
  for (const std::string& app : choice.apps) json.value(app);
  json.end_array();
  if (!choice.life.empty()) {
    const auto life = parse_life(choice.life);
    if (!life) {
      print_error(asking.console,
                  "--ttl: \"" + choice.life + "\" is no time; write 90d, 12h or none at all");
      return 2;
    }
    json.field("ttl_seconds", life->count());
  }
  json.end_object();
  auto call = NetworkCall::choose(asking.config_file, "");
  if (!call) return print_error(asking.console, call.error().detail);
  if (call->by_login()) {
    return print_error(asking.console,
                       "tokens are made on the node itself: rooster tokens create -c rooster.toml");
  }
  const auto made = call->post("/v1/tokens", {}, std::move(body));
  if (!made) return print_error(asking.console, made.error().detail);
  if (asking.as_json) return print_json(asking.console, *made);
  asking.console.err << "Hand this line over by a safe way; it is shown once. It is valid until "
                     << (text_at(member(*made, "token"), "expires").empty()
                             ? "it is revoked"
                             : text_at(member(*made, "token"), "expires"))
                     << ":\n";
  asking.console.out << "rooster login '" << harmless(text_at(*made, "login")) << "'\n";
  return 0;
}

int list_tokens(const NetworkAsking& asking) {
  auto call = NetworkCall::choose(asking.config_file, "");
  if (!call) return print_error(asking.console, call.error().detail);
  const auto list = call->get("/v1/tokens");
  if (!list) return print_error(asking.console, list.error().detail);
  if (asking.as_json) return print_json(asking.console, *list);
  Table table({"ID", "NETWORK", "APPS", "ALLOW", "NOTE", "CREATED", "EXPIRES"});
  for (const value& token : array_at(*list, "tokens")) {
    const std::string expires = text_at(token, "expires");
    table.add({text_at(token, "id"), text_at(token, "network"), joined(token, "apps", "all"),
               text_at(token, "rights"), text_at(token, "note"), text_at(token, "created"),
               expires.empty() ? "never" : expires});
  }
  if (table.is_empty()) {
    asking.console.out << "There are no tokens; rooster tokens create makes one\n";
    return 0;
  }
  table.print(asking.console);
  return 0;
}

int revoke_token(const NetworkAsking& asking, const TokenChoice& choice) {
  auto call = NetworkCall::choose(asking.config_file, "");
  if (!call) return print_error(asking.console, call.error().detail);
  const auto gone = call->post("/v1/tokens/" + net::encode_query(choice.id) + "/revoke");
  if (!gone) return print_error(asking.console, gone.error().detail);
  if (asking.as_json) return print_json(asking.console, *gone);
  asking.console.out << "Revoked token " << harmless(choice.id) << " and the peers made with it.\n";
  return 0;
}

// ---- looking

int list_peers(const NetworkAsking& asking, const PeerChoice& choice) {
  auto call = NetworkCall::choose(asking.config_file, choice.network);
  if (!call) return print_error(asking.console, call.error().detail);
  const auto list = call->get("/v1/peers", {{"network", choice.network}});
  if (!list) return print_error(asking.console, list.error().detail);
  if (asking.as_json) return print_json(asking.console, *list);
  Table table({"NAME", "NETWORK", "REGION", "PEER IP", "EXPIRES"});
  for (const value& peer : array_at(*list, "peers")) {
    table.add({text_at(peer, "name"), text_at(peer, "network"), text_at(peer, "region"),
               text_at(peer, "address"), text_at(peer, "expires")});
  }
  if (table.is_empty()) {
    asking.console.out << (choice.network.empty() ? std::string("There are no wireguard peers\n")
                                                  : "Network \"" + choice.network +
                                                        "\" does not have any wireguard peers\n");
    return 0;
  }
  table.print(asking.console);
  return 0;
}

int remove_peer(const NetworkAsking& asking, const PeerChoice& choice) {
  auto call = NetworkCall::choose(asking.config_file, choice.network);
  if (!call) return print_error(asking.console, call.error().detail);
  const auto gone = call->post("/v1/peers/" + net::encode_query(choice.name) + "/remove",
                               {{"network", choice.network}});
  if (!gone) return print_error(asking.console, gone.error().detail);
  if (asking.as_json) return print_json(asking.console, *gone);
  asking.console.out << "Removing WireGuard peer \"" << harmless(choice.name) << "\" for network "
                     << harmless(text_at(member(*gone, "peer"), "network")) << "\nRemoved peer.\n";
  return 0;
}

int show_wireguard_status(const NetworkAsking& asking) {
  auto call = NetworkCall::choose(asking.config_file, "");
  if (!call) return print_error(asking.console, call.error().detail);
  if (call->by_login()) {
    return print_error(asking.console,
                       "the gateway's status is the operator's: rooster wireguard status -c "
                       "rooster.toml; your own way in: rooster proxy --check");
  }
  const auto status = call->get("/v1/wireguard");
  if (!status) return print_error(asking.console, status.error().detail);
  if (asking.as_json) return print_json(asking.console, *status);
  print_pairs(asking.console, {{"Interface", text_at(*status, "interface")},
                               {"Endpoint", text_at(*status, "endpoint")},
                               {"Public key", text_at(*status, "public_key")},
                               {"Region", text_at(*status, "region")}});
  Table table(
      {"PEER", "NETWORK", "PEER IP", "ENDPOINT", "BY", "HANDSHAKE", "RECEIVED", "SENT", "REFUSED"});
  std::vector<std::string> alternating;
  for (const value& peer : array_at(*status, "peers")) {
    table.add({text_at(peer, "name"), text_at(peer, "network"), text_at(peer, "address"),
               text_at(peer, "endpoint"), text_at(peer, "transport"),
               age_text(text_at(peer, "handshake_age_seconds")),
               size_text(text_at(peer, "received_bytes")), size_text(text_at(peer, "sent_bytes")),
               text_at(peer, "refused")});
    if (is_true(peer, "alternates")) alternating.push_back(text_at(peer, "name"));
  }
  asking.console.out << '\n';
  table.print(asking.console);
  for (const std::string& name : alternating) {
    asking.console.out << paint(asking.console, Colour::Yellow, "warning: ")
                       << "two places use the key of " << harmless(name)
                       << ", so both lose packets; give one of them a peer of its own\n";
  }
  return 0;
}

namespace {

Result<value> ips_of(const NetworkAsking& asking, const std::string& given) {
  const std::string app =
      find_app_name(given, std::getenv("FLY_APP"), std::filesystem::current_path().string());
  if (app.empty()) return fail(Fault::BadRequest, no_app_text());
  const auto admin = find_admin(asking.config_file, std::getenv("ROOSTER_ADMIN"));
  if (!admin) return fail(admin.error());
  return NodeClient(*admin).get("/v1/ips", {{"app", app}});
}

}  // namespace

int list_ips(const NetworkAsking& asking, const std::string& app) {
  const auto found = ips_of(asking, app);
  if (!found) return print_error(asking.console, found.error().detail);
  if (asking.as_json) return print_json(asking.console, *found);
  Table table({"VERSION", "IP", "TYPE", "REGION", "CREATED AT"});
  for (const value& ip : array_at(*found, "ips")) {
    table.add({text_at(ip, "version"), text_at(ip, "ip"), text_at(ip, "type"),
               text_at(ip, "region"), text_at(ip, "created")});
  }
  table.print(asking.console);
  return 0;
}

int list_private_ips(const NetworkAsking& asking, const std::string& app) {
  const auto found = ips_of(asking, app);
  if (!found) return print_error(asking.console, found.error().detail);
  if (asking.as_json) return print_json(asking.console, *found);
  Table table({"ID", "REGION", "IP"});
  for (const value& machine : array_at(*found, "machines")) {
    table.add({text_at(machine, "id"), text_at(machine, "region"), text_at(machine, "ip")});
  }
  table.print(asking.console);
  return 0;
}

// ---- login

int log_in(const NetworkAsking& asking, const LoginChoice& choice) {
  std::string text = choice.text;
  if (text == "-" && !std::getline(std::cin, text)) {
    return print_error(asking.console, "nothing came by standard input");
  }
  auto login = parse_login(text);
  if (!login) {
    print_error(asking.console, login.error().detail);
    return 2;
  }
  login->connect_to = choice.connect_to;
  Loop loop;
  auto gateway = GatewayClient::create(loop, *login);
  if (!gateway) return print_error(asking.console, gateway.error().detail);
  const auto answer = gateway->call_now("GET", "/v1/login");
  if (!answer) return print_error(asking.console, answer.error().detail);
  const value token = member(*answer, "token");
  login->network = text_at(token, "network");
  if (!is_plain_name(login->network)) {
    return print_error(asking.console, login->url() + " says no network's name");
  }
  const auto kept = keep_login(std::move(*login));
  if (!kept) return print_error(asking.console, kept.error().detail);
  if (asking.as_json) return print_json(asking.console, *answer);
  const std::string expires = text_at(token, "expires");
  print_pairs(asking.console, {{"Node", kept->url()},
                               {"Network", kept->network},
                               {"Apps", joined(token, "apps", "all")},
                               {"Allow", text_at(token, "rights")},
                               {"Expires", expires.empty() ? "never" : expires}});
  asking.console.out << "Logged in. Now: rooster proxy 5432 -a <app>\n";
  return 0;
}

}  // namespace rooster::cli
