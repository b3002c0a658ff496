#include "admin/enrolment.hpp"

#include "admin/network_json.hpp"
#include "core/json_text.hpp"

#include <chrono>
#include <utility>

namespace rooster::admin {
namespace {

using cluster::Registry;
using net::HttpReply;
using net::HttpRequest;

constexpr std::string_view kPeers = "/v1/peers/";

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
  HttpReply reply = HttpReply::json(std::move(body));
  // It may hold a token.
  reply.fields.emplace_back("Cache-Control", "no-store");
  return reply;
}

// A static peer that this token made. Others are as if they were not there.
Result<cluster::PeerPtr> own_peer(Registry& registry, const cluster::Token& token,
                                  const std::string& name) {
  const std::string network(registry.addresses().name_of(token.network));
  auto peer = registry.find_peer(network, name);
  if (peer && !peer->ephemeral && peer->token == token.id) return peer;
  return fail(Fault::NoSuchPeer);
}

}  // namespace

std::string_view bearer_token(const HttpRequest& request) {
  constexpr std::string_view kScheme = "bearer ";
  std::string_view field = request.field("authorization");
  if (field.size() < kScheme.size()) return {};
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = field[i] >= 'A' && field[i] <= 'Z' ? static_cast<char>(field[i] + 32) : field[i];
    if (c != kScheme[i]) return {};
  }
  field.remove_prefix(kScheme.size());
  while (field.starts_with(' ')) field.remove_prefix(1);
  return field;
}

Task<HttpReply> Enrolment::handle(const HttpRequest& request, Waiter& waiter) {
  const std::string_view path = request.path();
  const bool is_get = request.method == "GET";
  const bool is_known =
      (is_get && (path == "/v1/login" || path == "/v1/peers")) ||
      (request.method == "POST" && (path == "/v1/peers" || path.starts_with(kPeers)));
  if (!is_known) co_return fault_reply(Error(Fault::NoRoute, "nothing is here"));
  // A web page can't send this request with a token of its own, and has no business here.
  if (!request.field("origin").empty()) {
    co_return fault_reply(Error(Fault::NotAllowed, "not for web pages"));
  }
  const auto token = co_await authorize(request, waiter);
  if (!token) {
    HttpReply reply = fault_reply(token.error());
    if (reply.status == 401) reply.fields.emplace_back("WWW-Authenticate", "Bearer");
    co_return reply;
  }
  if (path == "/v1/login") co_return co_await login(*token, waiter);
  if (is_get) co_return co_await list(*token, waiter);
  if (path == "/v1/peers") co_return co_await enrol(request, *token, waiter);
  co_return co_await change(request, *token, waiter);
}

Task<cluster::TokenPtr> Enrolment::authorize(const HttpRequest& request, Waiter& waiter) {
  const IpAddress source = request.source.value_or(IpAddress());
  const std::string text(bearer_token(request));
  if (text.empty()) co_return Error(Fault::BadToken, "send Authorization: Bearer <token>");
  auto token = co_await ask_registry<cluster::TokenPtr>(
      network_, waiter, [text, source](Registry& registry, Answer<cluster::TokenPtr> answer) {
        answer(registry.authorize(text, source, wall_now()));
      });
  if (!token) {
    log_.warn("a token was refused",
              {{"source", source.to_string()}, {"fault", describe(token.error().fault).token}});
  }
  co_return token;
}

Task<HttpReply> Enrolment::login(cluster::TokenPtr token, Waiter& waiter) {
  const auto named = co_await ask_registry<NamedToken>(
      network_, waiter, [token](Registry& registry, Answer<NamedToken> answer) {
        answer(with_names(registry, token));
      });
  if (!named) co_return fault_reply(named.error());
  const GatewayFacts facts = network_.facts();
  co_return json_reply([&](JsonWriter& json) {
    json.key("token");
    write_token(json, *named);
    json.field("endpoint", facts.endpoint).field("region", facts.region);
    json.field("login_url", facts.login_url);
  });
}

Task<HttpReply> Enrolment::enrol(const HttpRequest& request, cluster::TokenPtr token,
                                 Waiter& waiter) {
  auto wanted = read_peer_request(request.body, wall_now());
  if (!wanted) co_return fault_reply(wanted.error());
  const GatewayFacts facts = network_.facts();
  if (wanted->region.empty()) wanted->region = facts.region;
  const auto made = co_await ask_registry<NewPeer>(
      network_, waiter,
      [this, token, wanted = std::move(*wanted)](Registry& registry,
                                                 Answer<NewPeer> answer) mutable {
        registry.enrol(
            *token, std::move(wanted), wall_now(),
            [this, &registry,
             answer = std::move(answer)](Result<cluster::CreatedPeer> created) mutable {
              if (!created) return answer(fail(created.error()));
              // Its first packet may follow the answer at once.
              network_.when_routed([answer = std::move(answer),
                                    made = with_names(registry, std::move(*created))]() mutable {
                answer(std::move(made));
              });
            });
      });
  if (!made) co_return fault_reply(made.error());
  const cluster::Peer& peer = *made->named.peer;
  log_.info("a peer has enrolled", {{"peer", peer.name},
                                    {"network", made->named.network},
                                    {"token", token->id},
                                    {"source", request.source.value_or(IpAddress()).to_string()}});
  co_return json_reply([&](JsonWriter& json) {
    json.key("peer");
    write_new_peer(json, *made, facts);
  });
}

Task<HttpReply> Enrolment::list(cluster::TokenPtr token, Waiter& waiter) {
  using List = std::vector<NamedPeer>;
  const auto found = co_await ask_registry<List>(
      network_, waiter, [token](Registry& registry, Answer<List> answer) {
        List own;
        for (auto& peer : registry.peers()) {
          if (!peer->ephemeral && peer->token == token->id)
            own.push_back(with_names(registry, peer));
        }
        answer(std::move(own));
      });
  if (!found) co_return fault_reply(found.error());
  co_return json_reply([&](JsonWriter& json) {
    json.key("peers").begin_array();
    for (const NamedPeer& peer : *found) write_peer(json, peer);
    json.end_array();
  });
}

Task<HttpReply> Enrolment::change(const HttpRequest& request, cluster::TokenPtr token,
                                  Waiter& waiter) {
  std::string_view rest = request.path().substr(kPeers.size());
  const std::size_t slash = rest.rfind('/');
  const std::string_view order = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  if (order != "remove" && order != "reset") {
    co_return fault_reply(Error(Fault::NoRoute, "nothing is here"));
  }
  if (!token->rights.has(cluster::Right::Peers)) co_return fault_reply(Error(Fault::NotAllowed));
  std::optional<cluster::Key> key;
  if (order == "reset") {
    const auto given = read_key_request(request.body);
    if (!given) co_return fault_reply(given.error());
    key = *given;
  }
  const auto changed = co_await ask_registry<NewPeer>(
      network_, waiter,
      [token, key, name = net::decode_query(rest.substr(0, slash))](
          Registry& registry, Answer<NewPeer> answer) mutable {
        const auto peer = own_peer(registry, *token, name);
        if (!peer) return answer(fail(peer.error()));
        const std::string network(registry.addresses().name_of(token->network));
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
  const GatewayFacts facts = network_.facts();
  co_return json_reply([&](JsonWriter& json) {
    json.key("peer");
    write_new_peer(json, *changed, facts);
  });
}

}  // namespace rooster::admin
