// TunnelWay: a WireGuard tunnel of this process's own, with a key from a slot, or from a peer's
// file.
#pragma once

#include "cli/developer_way.hpp"
#include "cli/gateway_client.hpp"
#include "cli/peer_file.hpp"
#include "cli/slots.hpp"
#include "cli/way.hpp"
#include "tunnel/client.hpp"

#include <memory>
#include <optional>
#include <string>

namespace rooster::cli {

/// A link's change as a line for a person; "" where there is none to print. `verbose`: also what
/// went well.
std::string link_line(const tunnel::LinkReport& report, bool verbose);

class TunnelWay final : public Way {
 public:
  /// By a login's slot, or by a file. Errors: Internal, PeerExists (the file's key is in use), with
  /// what to do next.
  static Result<std::unique_ptr<TunnelWay>> by_login(Loop& loop, const DeveloperOptions& options,
                                                     Login login, Tell tell);
  static Result<std::unique_ptr<TunnelWay>> by_file(Loop& loop, const DeveloperOptions& options,
                                                    Tell tell);
  ~TunnelWay() override;

  Task<> open(Waiter& waiter, TimePoint deadline) override;
  /// Where the gateway does not know this key any more: with a fresh one.
  Result<> open_now(Loop& loop, Duration patience) override;
  Task<std::unique_ptr<Stream>> dial_api(Waiter& waiter, TimePoint deadline) override;
  Task<std::unique_ptr<Stream>> dial_dns(Waiter& waiter, TimePoint deadline) override;
  std::string token() const override;
  std::string describe() const override;
  std::string why_lost() const override;
  std::optional<WallTime> renewed_at() const override;
  void slept() override;

  /// What may carry the tunnel; for the next open().
  enum class Links : std::uint8_t { Both, Udp, Websocket };
  void set_links(Links links) { links_ = links; }
  /// Ends the tunnel; open() makes another. Not inside a turn of the loop.
  void close_now();
  /// The login's; null where there is none.
  GatewayClient* gateway() { return gateway_ ? &*gateway_ : nullptr; }
  /// After open().
  tunnel::Client& client() { return *client_; }
  const Membership& membership() const { return membership_; }
  const std::string& stack_explanation() const { return client_->stack_explanation(); }

 private:
  TunnelWay(Loop& loop, const DeveloperOptions& options, Tell tell);
  Task<> enrol(Waiter& waiter, TimePoint deadline);
  Result<> connect();
  void on_report(const tunnel::LinkReport& report);
  Task<std::unique_ptr<Stream>> dial(std::uint16_t port, Waiter& waiter, TimePoint deadline);
  void keep_last_sent();

  Loop& loop_;
  tunnel::StackChoice stack_;
  Links links_ = Links::Both;
  bool verbose_;
  Tell tell_;
  std::optional<GatewayClient> gateway_;  // with a login
  std::optional<Slot> slot_;              // with a login
  Descriptor key_lock_;                   // without
  tunnel::PrivateKey key_{};
  Membership membership_;
  tunnel::Tai64n last_sent_{};
  std::unique_ptr<tunnel::Client> client_;
  Timer keeper_;
  Waiter* opener_ = nullptr;  // in open()
  bool is_unanswered_ = false;
  bool wants_fresh_key_ = false;
  bool may_begin_anew_ = false;  // in open_now()
  bool is_fresh_ = false;        // the gateway has just made this peer
  std::string trouble_;          // the last report's, for errors
  TimePoint down_since_ = kNever;
  TimePoint up_again_{};
  std::string was_down_;
};

}  // namespace rooster::cli
