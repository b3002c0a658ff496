#include "admin/network_json.hpp"

#include "core/base64.hpp"
#include "core/log.hpp"
#include "core/private_address.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <span>

namespace rooster::admin {
namespace {

constexpr std::int64_t kMostSeconds = std::int64_t{10} * 366 * 86400;

std::unexpected<Error> bad(std::string_view key, std::string_view what) {
  return fail(Fault::BadRequest, std::string(key) + ": " + std::string(what));
}

// Reads members; the first that is wrong stays as the error.
class Members {
 public:
  explicit Members(std::string_view body) {
    boost::system::error_code error;
    value_ = boost::json::parse({body.data(), body.size()}, error);
    if (error || !value_.is_object()) fail_with("body", "must be a JSON object");
  }

  void read(std::string_view key, std::string& to) {
    const auto* const found = find(key);
    if (found == nullptr) return;
    if (const auto* const text = found->if_string()) {
      to.assign(text->data(), text->size());
    } else {
      fail_with(key, "must be text");
    }
  }
  void read(std::string_view key, bool& to) {
    const auto* const found = find(key);
    if (found == nullptr) return;
    if (found->is_bool()) {
      to = found->get_bool();
    } else {
      fail_with(key, "must be true or false");
    }
  }
  void read(std::string_view key, std::vector<std::string>& to) {
    const auto* const found = find(key);
    if (found == nullptr) return;
    const auto* const list = found->if_array();
    if (list == nullptr) return fail_with(key, "must be a list of texts");
    for (const auto& item : *list) {
      const auto* const text = item.if_string();
      if (text == nullptr) return fail_with(key, "must be a list of texts");
      to.emplace_back(text->data(), text->size());
    }
  }
  void read(std::string_view key, cluster::Rights& to) {
    std::string text;
    read(key, text);
    if (text.empty()) return;
    const auto rights = cluster::Rights::parse(text);
    if (rights) {
      to = *rights;
    } else {
      fail_with(key, "write connect, exec, peers, or several with commas");
    }
  }
  void read(std::string_view key, std::optional<std::chrono::seconds>& to) {
    const auto* const found = find(key);
    if (found == nullptr) return;
    boost::system::error_code error;
    const auto seconds = found->to_number<std::int64_t>(error);
    if (error || seconds <= 0 || seconds > kMostSeconds) {
      return fail_with(key, "must be seconds, from 1 to ten years of them");
    }
    to = std::chrono::seconds(seconds);
  }
  void read(std::string_view key, std::optional<cluster::Key>& to) {
    std::string text;
    read(key, text);
    if (text.empty()) return;
    const auto bytes = from_base64(text);
    if (!bytes || bytes->size() != cluster::Key().size()) {
      return fail_with(key, "must be 32 bytes in base 64, as `wg pubkey` prints them");
    }
    to.emplace();
    std::ranges::copy(*bytes, to->begin());
  }
  const Result<>& outcome() const { return outcome_; }

 private:
  const boost::json::value* find(std::string_view key) const {
    const auto* const object = value_.if_object();
    const auto* const found =
        object == nullptr ? nullptr : object->if_contains({key.data(), key.size()});
    return found == nullptr || found->is_null() ? nullptr : found;
  }
  void fail_with(std::string_view key, std::string_view what) {
    if (outcome_) outcome_ = bad(key, what);
  }

  boost::json::value value_;
  Result<> outcome_;
};

void write_list(JsonWriter& json, std::string_view key, const std::vector<std::string>& texts) {
  json.key(key).begin_array();
  for (const std::string& text : texts) json.value(text);
  json.end_array();
}

void write_time(JsonWriter& json, std::string_view key, const std::optional<WallTime>& time) {
  if (time && *time != WallTime{}) json.field(key, format_time(*time));
}

std::string with_prefix(const IpAddress& address, unsigned bits) {
  return address.to_string() + '/' + std::to_string(bits);
}

void write_peer_members(JsonWriter& json, const NamedPeer& named) {
  const cluster::Peer& peer = *named.peer;
  json.field("name", peer.name).field("network", named.network).field("region", peer.region);
  json.field("address", peer.address.to_string());
  json.field("public_key", to_base64(peer.key)).field("ephemeral", peer.ephemeral);
  json.field("rights", peer.rights.to_string());
  write_list(json, "apps", peer.apps);
  json.field("token", peer.token);
  write_time(json, "created", peer.created);
  write_time(json, "expires", peer.expires);
  write_time(json, "last_handshake", named.memory.last_handshake);
}

}  // namespace

NamedPeer with_names(cluster::Registry& registry, cluster::PeerPtr peer) {
  NamedPeer named{.peer = std::move(peer), .network = {}};
  named.network = registry.addresses().name_of(named.peer->network);
  named.memory = registry.memory_of(named.peer->key);
  return named;
}

NewPeer with_names(cluster::Registry& registry, cluster::CreatedPeer created) {
  return {.named = with_names(registry, std::move(created.peer)),
          .token_text = std::move(created.token_text)};
}

NamedToken with_names(cluster::Registry& registry, cluster::TokenPtr token) {
  NamedToken named{.token = std::move(token), .network = {}};
  named.network = registry.addresses().name_of(named.token->network);
  return named;
}

Result<cluster::PeerRequest> read_peer_request(std::string_view body, WallTime now) {
  cluster::PeerRequest request;
  Members members(body);
  std::optional<cluster::Key> key;
  std::optional<std::chrono::seconds> ttl;
  members.read("public_key", key);
  members.read("preshared_key", request.preshared);
  members.read("name", request.name);
  members.read("network", request.network);
  members.read("region", request.region);
  members.read("ephemeral", request.ephemeral);
  members.read("apps", request.apps);
  members.read("rights", request.rights);
  members.read("ttl_seconds", ttl);
  members.read("with_token", request.with_token);
  if (!members.outcome()) return fail(members.outcome().error());
  if (!key) return bad("public_key", "is missing");
  if (request.region.size() > 63) return bad("region", "is longer than 63 bytes");
  request.key = *key;
  if (ttl) request.expires = now + *ttl;
  return request;
}

Result<cluster::TokenRequest> read_token_request(std::string_view body) {
  cluster::TokenRequest request;
  Members members(body);
  members.read("network", request.network);
  members.read("apps", request.apps);
  members.read("rights", request.rights);
  members.read("note", request.note);
  members.read("ttl_seconds", request.ttl);
  if (!members.outcome()) return fail(members.outcome().error());
  return request;
}

Result<cluster::Key> read_key_request(std::string_view body) {
  Members members(body);
  std::optional<cluster::Key> key;
  members.read("public_key", key);
  if (!members.outcome()) return fail(members.outcome().error());
  if (!key) return bad("public_key", "is missing");
  return *key;
}

void write_peer(JsonWriter& json, const NamedPeer& named) {
  json.begin_object();
  write_peer_members(json, named);
  json.end_object();
}

void write_new_peer(JsonWriter& json, const NewPeer& made, const GatewayFacts& facts) {
  const NetworkId network = made.named.peer->network;
  json.begin_object();
  write_peer_members(json, made.named);
  json.field("prefix", with_prefix(made.named.peer->address, kPeerPrefixBits));
  json.field("network_prefix", with_prefix(network_prefix(network), kNetworkPrefixBits));
  json.field("dns", infra_address(network).to_string());
  json.field("gateway_public_key", to_base64(facts.public_key));
  json.field("gateway_region", facts.region);
  json.field("endpoint", facts.endpoint).field("login_url", facts.login_url);
  json.field("pin", facts.pin);
  if (!made.token_text.empty()) json.field("token_text", made.token_text);
  json.end_object();
}

void write_token(JsonWriter& json, const NamedToken& named) {
  const cluster::Token& token = *named.token;
  json.begin_object().field("id", token.id).field("network", named.network);
  write_list(json, "apps", token.apps);
  json.field("rights", token.rights.to_string()).field("note", token.note);
  write_time(json, "created", token.created);
  write_time(json, "expires", token.expires);
  json.end_object();
}

void write_audit(JsonWriter& json, const cluster::AuditEntry& entry) {
  json.begin_object().field("token", entry.token).field("peer", entry.peer);
  json.field("app", entry.app).field("machine", entry.machine);
  write_list(json, "argv", entry.argv);
  write_time(json, "start", entry.start);
  write_time(json, "end", entry.end);
  json.field("exit_status", entry.exit_status);
  json.field("bytes_in", entry.bytes_in).field("bytes_out", entry.bytes_out).end_object();
}

net::HttpReply fault_reply(const Error& error) {
  const FaultText text = describe(error.fault);
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  json.field("error", error.detail.empty() ? text.hint : std::string_view(error.detail));
  json.field("fault", text.token).end_object();
  body += '\n';
  return net::HttpReply::json(std::move(body), text.status >= 400 ? text.status : 500);
}

}  // namespace rooster::admin
