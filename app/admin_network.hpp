// AdminNetwork: the private network as the admin side sees it, from the background thread.
#pragma once

#include "admin/private_network.hpp"
#include "app/private_network.hpp"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace rooster::app {

class AdminNetwork final : public admin::PrivateNetwork {
 public:
  /// `control`: the thread that `network` belongs to.
  AdminNetwork(app::PrivateNetwork& network, Loop& control, admin::GatewayFacts facts)
      : network_(network), control_(control), facts_(std::move(facts)) {}

  admin::GatewayFacts facts() const override { return facts_; }
  Loop& registry_loop() override { return control_; }
  cluster::Registry& registry() override { return network_.registry(); }
  void when_routed(std::move_only_function<void()> done) override {
    network_.when_routed(std::move(done));
  }
  Task<std::vector<admin::PeerSession>> sessions(Waiter& waiter) override;
  Result<std::vector<cluster::AuditEntry>> audits(std::string_view app, std::size_t most) override {
    return network_.archive().audits(app, most);
  }

 private:
  app::PrivateNetwork& network_;
  Loop& control_;
  admin::GatewayFacts facts_;
};

}  // namespace rooster::app
