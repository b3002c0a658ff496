#include "proxy/pg_start.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

std::string message(std::uint32_t size, std::uint32_t code) {
  std::string made;
  for (const std::uint32_t number : {size, code}) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      made += static_cast<char>(number >> shift & 0xFFU);
    }
  }
  return made;
}

TEST(PgStart, TellsTheRequestsApart) {
  EXPECT_EQ(peek_pg_request(message(8, 80877103)), PgRequest::Tls);
  EXPECT_EQ(peek_pg_request(message(8, 80877104)), PgRequest::Gss);
  EXPECT_EQ(peek_pg_request(message(16, 80877102)), PgRequest::Cancel);
  EXPECT_EQ(peek_pg_request(message(41, 3U << 16U)), PgRequest::Plain);
  EXPECT_EQ(peek_pg_request(message(41, 3U << 16U | 2U)), PgRequest::Plain);
  EXPECT_EQ(peek_pg_request(message(9, 80877103)), PgRequest::Foreign);
  EXPECT_EQ(peek_pg_request(message(41, 7)), PgRequest::Foreign);
  EXPECT_EQ(peek_pg_request(message(20'000, 3U << 16U)), PgRequest::Foreign);
  EXPECT_EQ(peek_pg_request("GET / HT"), PgRequest::Foreign);
  EXPECT_EQ(peek_pg_request("\x16"), PgRequest::Foreign);
}

TEST(PgStart, WaitsForTheWholeRequest) {
  const std::string request = message(8, 80877103);
  for (std::size_t size = 0; size < request.size(); ++size) {
    EXPECT_EQ(peek_pg_request(std::string_view(request).substr(0, size)), PgRequest::NeedMore);
  }
}

TEST(PgStart, MakesAnErrorResponse) {
  const std::string made = make_pg_error("28000", "no", "hint");
  const std::string fields("SFATAL\0VFATAL\0C28000\0Mno\0Hhint\0\0", 32);
  EXPECT_EQ(made, "E" + std::string("\0\0\0\x24", 4) + fields);
}

}  // namespace
}  // namespace rooster::proxy
