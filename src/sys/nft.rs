//! The one expression that the nftnl crate lacks.
#![expect(unsafe_code, reason = "nftnl's expressions are made through libnftnl's C interface")]

use std::ptr::NonNull;

use nftnl::Rule;
use nftnl::expr::Expression;
use nftnl::nftnl_sys as sys;

/// `ct direction`: loads 0 into register 1 for a packet of the side that opened the connection, 1 for a reply, as
/// one byte. The rule does not match a packet that belongs to no known connection.
pub struct CtDirection;

impl Expression for CtDirection {
    fn to_expr(&self, _rule: &Rule) -> NonNull<sys::nftnl_expr> {
        // SAFETY: the name is a C string; the expression is freshly made, and both attributes exist for "ct" and are
        // 32 bits wide. The rule that asked takes it over and frees it.
        unsafe {
            let expr = NonNull::new(sys::nftnl_expr_alloc(c"ct".as_ptr())).expect("memory for an expression");
            sys::nftnl_expr_set_u32(expr.as_ptr(), sys::NFTNL_EXPR_CT_DREG as u16, libc::NFT_REG_1 as u32);
            sys::nftnl_expr_set_u32(
                expr.as_ptr(),
                sys::NFTNL_EXPR_CT_KEY as u16,
                libc::NFT_CT_DIRECTION as u32,
            );
            expr
        }
    }
}
