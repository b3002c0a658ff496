#include "admin/network_api.hpp"

#include "admin/network_json.hpp"
#include "core/base64.hpp"
#include "core/json_text.hpp"
#include "core/log.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <map>
#include <utility>

namespace rooster::admin {
namespace {

using cluster::Registry;
using net::HttpReply;
using net::HttpRequest;

constexpr std::size_t kMostAudits = 1000;

WallTime wall_now() {
  return std::chrono::system_clock::now();
}

template <class Write>
HttpReply json_reply(Write write) {
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  write(json);
  json.end_object();
  body += '\n';
  return HttpReply::json(std::move(body));
}

HttpReply not_found() {
  return fault_reply(Error(Fault::NoRoute, "no such endpoint"));
}

// "/v1/peers/laptop/reset" behind "/v1/peers/" -> laptop, reset.
std::pair<std::string, std::string_view> name_and_order(std::string_view path,
                                                        std::string_view prefix) {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {};
  return {net::decode_query(path.substr(0, slash)), path.substr(slash + 1)};
}

void write_session(JsonWriter& json, const NamedPeer& named, const PeerSession* session) {
  json.begin_object().field("name", named.peer->name).field("network", named.network);
  json.field("address", named.peer->address.to_string());
  json.field("public_key", to_base64(named.peer->key));
  json.field("ephemeral", named.peer->ephemeral);
  if (session != nullptr) {
    if (session->endpoint != Endpoint{}) json.field("endpoint", session->endpoint.to_string());
    json.field("transport", session->is_websocket ? "websocket" : "udp");
    if (session->last_handshake != WallTime{}) {
      json.field("last_handshake", format_time(session->last_handshake));
      const auto age = wall_now() - session->last_handshake;
      json.field(
          "handshake_age_seconds",
          std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count()));
    }
    json.field("received_bytes", session->received_bytes);
    json.field("sent_bytes", session->sent_bytes).field("refused", session->refused);
    json.field("alternates", session->alternates);
  }
  json.end_object();
}

}  // namespace

bool NetworkApi::serves(std::string_view path) {
  constexpr std::array<std::string_view, 5> kWhole{"/v1/tokens", "/v1/peers", "/v1/wireguard",
                                                   "/v1/ips", "/v1/audit"};
  return std::ranges::find(kWhole, path) != kWhole.end() || path.starts_with("/v1/tokens/") ||
         path.starts_with("/v1/peers/");
}

Task<HttpReply> NetworkApi::handle(const HttpRequest& request, Waiter& waiter) {
  if (request.path() == "/v1/ips" && request.method != "POST")
    co_return co_await ips(request, waiter);
  if (network_ == nullptr) {
    co_return fault_reply(Error(Fault::NoRoute,
                                "this node has no private network; add [wireguard] to its "
                                "rooster.toml and start it again"));
  }
  if (request.method == "POST") co_return co_await post(request, waiter);
  co_return co_await get(request, waiter);
}

Task<HttpReply> NetworkApi::get(const HttpRequest& request, Waiter& waiter) {
  const std::string_view path = request.path();
  if (path == "/v1/tokens") co_return co_await tokens(waiter);
  if (path == "/v1/peers") co_return co_await peers(request, waiter);
  if (path == "/v1/wireguard") co_return co_await wireguard(waiter);
  if (path == "/v1/audit") co_return audit(request);
  co_return not_found();
}

Task<HttpReply> NetworkApi::post(const HttpRequest& request, Waiter& waiter) {
  const std::string_view path = request.path();
  if (path == "/v1/tokens") co_return co_await create_token(request, waiter);
  if (path == "/v1/peers") co_return co_await create_peer(request, waiter);
  if (auto [id, order] = name_and_order(path, "/v1/tokens/"); order == "revoke") {
    co_return co_await revoke_token(std::move(id), waiter);
  }
  if (auto [name, order] = name_and_order(path, "/v1/peers/");
      order == "remove" || order == "reset") {
    co_return co_await change_peer(request, std::move(name), order, waiter);
  }
  co_return not_found();
}

// ---- tokens

Task<HttpReply> NetworkApi::tokens(Waiter& waiter) {
  using List = std::vector<NamedToken>;
  const auto list =
      co_await ask_registry<List>(*network_, waiter, [](Registry& registry, Answer<List> answer) {
        List found;
        for (auto& token : registry.tokens()) found.push_back(with_names(registry, token));
        answer(std::move(found));
      });
  if (!list) co_return fault_reply(list.error());
  co_return json_reply([&](JsonWriter& json) {
    json.key("tokens").begin_array();
    for (const NamedToken& token : *list) write_token(json, token);
    json.end_array();
  });
}

Task<HttpReply> NetworkApi::create_token(const HttpRequest& request, Waiter& waiter) {
  auto wanted = read_token_request(request.body);
  if (!wanted) co_return fault_reply(wanted.error());
  const auto made = co_await ask_registry<NewToken>(
      *network_, waiter,
      [wanted = std::move(*wanted)](Registry& registry, Answer<NewToken> answer) mutable {
        registry.create_token(
            std::move(wanted), wall_now(),
            [&registry, answer = std::move(answer)](Result<cluster::CreatedToken> created) mutable {
              if (!created) return answer(fail(created.error()));
              answer(NewToken{.named = with_names(registry, std::move(created->token)),
                              .text = std::move(created->text)});
            });
      });
  if (!made) co_return fault_reply(made.error());
  const GatewayFacts facts = network_->facts();
  co_return json_reply([&](JsonWriter& json) {
    json.key("token");
    write_token(json, made->named);
    // Told once: nobody can say it again.
    std::string login = facts.login_url + '#' + made->text;
    if (!facts.pin.empty()) login += '.' + facts.pin;
    json.field("token_text", made->text).field("login", login);
  });
}

Task<HttpReply> NetworkApi::revoke_token(std::string id, Waiter& waiter) {
  const auto gone = co_await ask_registry<NamedToken>(
      *network_, waiter, [id = std::move(id)](Registry& registry, Answer<NamedToken> answer) {
        registry.revoke_token(
            id, wall_now(),
            [&registry, answer = std::move(answer)](Result<cluster::TokenPtr> token) mutable {
              if (!token) return answer(fail(token.error()));
              answer(with_names(registry, std::move(*token)));
            });
      });
  if (!gone) co_return fault_reply(gone.error());
  co_return json_reply([&](JsonWriter& json) {
    json.key("token");
    write_token(json, *gone);
  });
}

// ---- peers

Task<HttpReply> NetworkApi::peers(const HttpRequest& request, Waiter& waiter) {
  using List = std::vector<NamedPeer>;
  const std::string only = cluster::name_key(request.query("network").value_or(""));
  const auto list = co_await ask_registry<List>(
      *network_, waiter, [only](Registry& registry, Answer<List> answer) {
        List found;
        for (auto& peer : registry.peers()) {
          NamedPeer named = with_names(registry, peer);
          if (only.empty() || cluster::name_key(named.network) == only) {
            found.push_back(std::move(named));
          }
        }
        answer(std::move(found));
      });
  if (!list) co_return fault_reply(list.error());
  co_return json_reply([&](JsonWriter& json) {
    json.key("peers").begin_array();
    for (const NamedPeer& peer : *list) write_peer(json, peer);
    json.end_array();
  });
}

Task<HttpReply> NetworkApi::create_peer(const HttpRequest& request, Waiter& waiter) {
  auto wanted = read_peer_request(request.body, wall_now());
  if (!wanted) co_return fault_reply(wanted.error());
  const GatewayFacts facts = network_->facts();
  if (wanted->region.empty()) wanted->region = facts.region;
  const auto made = co_await ask_registry<NewPeer>(
      *network_, waiter,
      [wanted = std::move(*wanted)](Registry& registry, Answer<NewPeer> answer) mutable {
        registry.create_peer(
            std::move(wanted), wall_now(),
            [&registry, answer = std::move(answer)](Result<cluster::CreatedPeer> created) mutable {
              if (!created) return answer(fail(created.error()));
              answer(with_names(registry, std::move(*created)));
            });
      });
  if (!made) co_return fault_reply(made.error());
  co_return json_reply([&](JsonWriter& json) {
    json.key("peer");
    write_new_peer(json, *made, facts);
  });
}

Task<HttpReply> NetworkApi::change_peer(const HttpRequest& request, std::string name,
                                        std::string_view order, Waiter& waiter) {
  std::optional<cluster::Key> key;
  if (order == "reset") {
    const auto given = read_key_request(request.body);
    if (!given) co_return fault_reply(given.error());
    key = *given;
  }
  const auto changed = co_await ask_registry<NewPeer>(
      *network_, waiter,
      [key, name = std::move(name), network = request.query("network").value_or("")](
          Registry& registry, Answer<NewPeer> answer) mutable {
        if (key) {
          registry.reset_peer(network, name, *key, wall_now(),
                              [&registry, answer = std::move(answer)](
                                  Result<cluster::CreatedPeer> created) mutable {
                                if (!created) return answer(fail(created.error()));
                                answer(with_names(registry, std::move(*created)));
                              });
          return;
        }
        registry.remove_peer(
            network, name, wall_now(),
            [&registry, answer = std::move(answer)](Result<cluster::PeerPtr> gone) mutable {
              if (!gone) return answer(fail(gone.error()));
              answer(NewPeer{.named = with_names(registry, std::move(*gone)), .token_text = {}});
            });
      });
  if (!changed) co_return fault_reply(changed.error());
  const GatewayFacts facts = network_->facts();
  co_return json_reply([&](JsonWriter& json) {
    json.key("peer");
    write_new_peer(json, *changed, facts);
  });
}

// ---- looking

Task<HttpReply> NetworkApi::wireguard(Waiter& waiter) {
  using List = std::vector<NamedPeer>;
  const auto list =
      co_await ask_registry<List>(*network_, waiter, [](Registry& registry, Answer<List> answer) {
        List found;
        for (auto& peer : registry.peers()) found.push_back(with_names(registry, peer));
        answer(std::move(found));
      });
  if (!list) co_return fault_reply(list.error());
  const auto sessions = co_await network_->sessions(waiter);
  if (!sessions) co_return fault_reply(sessions.error());
  std::map<cluster::Key, const PeerSession*> by_key;
  for (const PeerSession& session : *sessions) by_key[session.key] = &session;
  const GatewayFacts facts = network_->facts();
  co_return json_reply([&](JsonWriter& json) {
    json.field("public_key", to_base64(facts.public_key)).field("endpoint", facts.endpoint);
    json.field("interface", facts.interface).field("region", facts.region);
    json.field("login_url", facts.login_url);
    json.key("peers").begin_array();
    for (const NamedPeer& peer : *list) {
      const auto found = by_key.find(peer.peer->key);
      write_session(json, peer, found == by_key.end() ? nullptr : found->second);
    }
    json.end_array();
  });
}

Task<HttpReply> NetworkApi::ips(const HttpRequest& request, Waiter& waiter) {
  const auto facts = co_await node_.app(waiter, request.query("app").value_or(""));
  if (!facts) co_return fault_reply(facts.error());
  co_return json_reply([&](JsonWriter& json) {
    const machines::AppView& view = *facts->view;
    json.field("app", view.config->name).field("network", view.config->rooster.network);
    json.key("ips").begin_array();
    if (view.flycast != IpAddress{}) {
      json.begin_object().field("version", "v6").field("ip", view.flycast.to_string());
      json.field("type", "private ingress").field("region", "global").end_object();
    }
    json.end_array().key("machines").begin_array();
    for (const auto& machine : view.machines) {
      if (machine.private_address == IpAddress{}) continue;
      json.begin_object().field("id", machine.id.value).field("region", machine.region);
      json.field("ip", machine.private_address.to_string()).end_object();
    }
    json.end_array();
  });
}

HttpReply NetworkApi::audit(const HttpRequest& request) {
  std::size_t most = 100;
  if (const auto text = request.query("most")) {
    std::from_chars(text->data(), text->data() + text->size(), most);
  }
  const auto entries = network_->audits(request.query("app").value_or(""),
                                        std::clamp<std::size_t>(most, 1, kMostAudits));
  if (!entries) return fault_reply(entries.error());
  return json_reply([&](JsonWriter& json) {
    json.key("audit").begin_array();
    for (const auto& entry : *entries) write_audit(json, entry);
    json.end_array();
  });
}

}  // namespace rooster::admin
