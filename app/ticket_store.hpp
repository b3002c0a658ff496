// TicketStore: the session ticket keys of this node. The keeper holds their bytes in a memory file,
// so that tickets outlive the server process.
#pragma once

#include "core/log.hpp"
#include "core/loop.hpp"
#include "keeper/client.hpp"
#include "tls/ticket_keys.hpp"

#include <functional>
#include <memory>

namespace rooster::app {

class TicketStore {
 public:
  /// Start-up: asks the keeper for a predecessor's keys, or makes the first.
  TicketStore(keeper::Client& keeper, Log& log);

  const std::shared_ptr<const tls::TicketKeys>& keys() const { return keys_; }
  /// From now on, on `loop`: a new key each 8 hours, told to `adopt`.
  void rotate_on(Loop& loop,
                 std::function<void(const std::shared_ptr<const tls::TicketKeys>&)> adopt);

 private:
  void keep();
  void rotate();
  void set_timer();

  keeper::Client& keeper_;
  Log& log_;
  std::shared_ptr<const tls::TicketKeys> keys_;
  std::unique_ptr<Timer> timer_;
  std::function<void(const std::shared_ptr<const tls::TicketKeys>&)> adopt_;
};

}  // namespace rooster::app
