// What the TLS tests share: a folder of their own, certificates made on the spot, and handshakes in
// memory.
#pragma once

#include "tls/certificate_store.hpp"
#include "tls/local_authority.hpp"
#include "tls/server_context.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rooster::tls::testing {

/// A fresh folder, removed at the end.
class Folder {
 public:
  Folder();
  ~Folder();
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

struct Pem {
  std::string certificate;
  std::string key;
};
/// A self-signed certificate for `names`.
Pem make_pem(const std::vector<std::string>& names, bool rsa = false, int days = 90);

/// A fixed instant for what must not depend on the day.
WallTime today();

struct ClientOptions {
  std::string sni = {};
  int version = 0;  ///< 0: any
  std::string suites13 = {};
  std::string suites12 = {};
  std::vector<std::string> alpn = {};
  SSL_SESSION* session = nullptr;
};

using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

struct Outcome {
  Result<Handshake> server = std::unexpected(Error(Fault::Internal));
  bool client_done = false;
  std::string served;  ///< common name of the certificate the client got
  std::string client_cipher;
  SessionPtr session;  ///< the ticket the client got
};

/// Shakes hands over memory BIOs.
Outcome shake(const ServerContext& context, const ClientOptions& options);

std::shared_ptr<const TicketKeys> new_tickets();
std::unique_ptr<ServerContext> new_context(std::shared_ptr<const CertificateStore> store,
                                           TlsProfile profile = {},
                                           std::shared_ptr<const TicketKeys> tickets = nullptr);

/// A store with these (name.pem, name.key) in `folder`.
CertificateInputs inputs_of(const Folder& folder, const std::vector<std::string>& names);

}  // namespace rooster::tls::testing
