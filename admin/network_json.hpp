// Peers and tokens as JSON, both ways.
#pragma once

#include "admin/private_network.hpp"
#include "cluster/records.hpp"
#include "cluster/registry.hpp"
#include "core/error.hpp"
#include "core/json_text.hpp"
#include "net/http_server.hpp"

#include <string>
#include <string_view>

namespace rooster::admin {

/// A peer with the names that only the registry knows.
struct NamedPeer {
  cluster::PeerPtr peer;
  std::string network;
  cluster::PeerMemory memory{};
};
struct NamedToken {
  cluster::TokenPtr token;
  std::string network;
};
/// A peer just made, and the token for its file.
struct NewPeer {
  NamedPeer named;
  std::string token_text;
};
struct NewToken {
  NamedToken named;
  std::string text;
};

NamedPeer with_names(cluster::Registry& registry, cluster::PeerPtr peer);
NewPeer with_names(cluster::Registry& registry, cluster::CreatedPeer created);
NamedToken with_names(cluster::Registry& registry, cluster::TokenPtr token);

/// Reads the body of a request to make a peer or a token.
/// Errors: BadRequest, with the key that is wrong.
Result<cluster::PeerRequest> read_peer_request(std::string_view body, WallTime now);
Result<cluster::TokenRequest> read_token_request(std::string_view body);
/// "public_key" alone.
Result<cluster::Key> read_key_request(std::string_view body);

void write_peer(JsonWriter& json, const NamedPeer& named);
/// All that a client needs to be this peer, but its private key.
void write_new_peer(JsonWriter& json, const NewPeer& made, const GatewayFacts& facts);
void write_token(JsonWriter& json, const NamedToken& named);
void write_audit(JsonWriter& json, const cluster::AuditEntry& entry);

/// What went wrong, as every answer of ours says it: a sentence in "error", the Fault in "fault".
net::HttpReply fault_reply(const Error& error);

}  // namespace rooster::admin
