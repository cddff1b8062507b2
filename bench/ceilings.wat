;; What the kernels are measured against in the same run: reading memory, and matrix products written without vectors.
(module
  (import "env" "memory" (memory 1))

  ;; Reads `bytes` (a multiple of 64) once, adding all words up.
  (func (export "load_sum") (param $ptr i32) (param $bytes i32) (result i32)
    (local $end i32) (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $end (i32.add (local.get $ptr) (local.get $bytes)))
    (loop $next
      (local.set $a (i32x4.add (local.get $a) (v128.load (local.get $ptr))))
      (local.set $b (i32x4.add (local.get $b) (v128.load offset=16 (local.get $ptr))))
      (local.set $c (i32x4.add (local.get $c) (v128.load offset=32 (local.get $ptr))))
      (local.set $d (i32x4.add (local.get $d) (v128.load offset=48 (local.get $ptr))))
      (local.set $ptr (i32.add (local.get $ptr) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $ptr) (local.get $end))))
    (i32x4.extract_lane 0
      (i32x4.add (i32x4.add (local.get $a) (local.get $b)) (i32x4.add (local.get $c) (local.get $d)))))

  ;; out[M][N] = a[M][K] · wᵀ, w row-major [N][K], one product at a time.
  (func (export "scalar_gemm")
    (param $out i32) (param $a i32) (param $w i32) (param $M i32) (param $N i32) (param $K i32)
    (local $m i32) (local $n i32) (local $k i32) (local $p i32) (local $q i32) (local $sum f32)
    (loop $rows
      (local.set $n (i32.const 0))
      (loop $columns
        (local.set $p (i32.add (local.get $a) (i32.shl (i32.mul (local.get $m) (local.get $K)) (i32.const 2))))
        (local.set $q (i32.add (local.get $w) (i32.shl (i32.mul (local.get $n) (local.get $K)) (i32.const 2))))
        (local.set $k (local.get $K))
        (local.set $sum (f32.const 0))
        (loop $terms
          (local.set $sum (f32.add (local.get $sum) (f32.mul (f32.load (local.get $p)) (f32.load (local.get $q)))))
          (local.set $p (i32.add (local.get $p) (i32.const 4)))
          (local.set $q (i32.add (local.get $q) (i32.const 4)))
          (br_if $terms (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
        (f32.store (local.get $out) (local.get $sum))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br_if $columns
          (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get $N))))
      (br_if $rows (i32.lt_u (local.tee $m (i32.add (local.get $m) (i32.const 1))) (local.get $M)))))

  ;; The same with weights in bfloat16.
  (func (export "scalar_bf16_gemm")
    (param $out i32) (param $a i32) (param $w i32) (param $M i32) (param $N i32) (param $K i32)
    (local $m i32) (local $n i32) (local $k i32) (local $p i32) (local $q i32) (local $sum f32)
    (loop $rows
      (local.set $n (i32.const 0))
      (loop $columns
        (local.set $p (i32.add (local.get $a) (i32.shl (i32.mul (local.get $m) (local.get $K)) (i32.const 2))))
        (local.set $q (i32.add (local.get $w) (i32.shl (i32.mul (local.get $n) (local.get $K)) (i32.const 1))))
        (local.set $k (local.get $K))
        (local.set $sum (f32.const 0))
        (loop $terms
          (local.set $sum
            (f32.add
              (local.get $sum)
              (f32.mul
                (f32.load (local.get $p))
                (f32.reinterpret_i32 (i32.shl (i32.load16_u (local.get $q)) (i32.const 16))))))
          (local.set $p (i32.add (local.get $p) (i32.const 4)))
          (local.set $q (i32.add (local.get $q) (i32.const 2)))
          (br_if $terms (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
        (f32.store (local.get $out) (local.get $sum))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br_if $columns
          (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get $N))))
      (br_if $rows (i32.lt_u (local.tee $m (i32.add (local.get $m) (i32.const 1))) (local.get $M))))))
