-- Tablas del sistema anterior, con los nombres que traían. Nadie las llamaría así hoy; hay que respaldarlas igual.

SET LOCAL ROLE pos_dueno;

CREATE TABLE "Sistema viejo; 1998"."Artículos y Precios" (
    "Clave" integer NOT NULL,
    "Descripción del artículo" varchar(60),
    "Precio $ (¡ojo!)" numeric(10, 2),
    "¿Activo?" boolean,
    CONSTRAINT "Llave; primaria" PRIMARY KEY ("Clave")
);

CREATE TABLE "Sistema viejo; 1998"."Pedidos ""urgentes""" (
    "select" integer NOT NULL,
    "Año" smallint,
    "ruta\archivo" text,
    "'nota'" text
);
COMMENT ON COLUMN "Sistema viejo; 1998"."Pedidos ""urgentes"""."select" IS 'Así se llamaba; "qué le vamos a hacer"; $1';

CREATE TABLE "Sistema viejo; 1998"."☕ Cafetería" (
    "🧾" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bebida text NOT NULL,
    tamaño char(1) NOT NULL
);

-- El nombre más largo que cabe: 63 bytes.
CREATE TABLE "Sistema viejo; 1998".existencias_contadas_a_mano_en_el_inventario_de_diciembre_de_98 (
    articulo integer NOT NULL REFERENCES "Sistema viejo; 1998"."Artículos y Precios",
    piezas integer,
    conto text
);

CREATE VIEW "Sistema viejo; 1998"."Lista de precios" AS
    SELECT "Clave" AS "clave vieja", "Descripción del artículo" AS "Descripción", "Precio $ (¡ojo!)"
    FROM "Sistema viejo; 1998"."Artículos y Precios"
    WHERE "¿Activo?";

CREATE INDEX "Índice por descripción; ñandú" ON "Sistema viejo; 1998"."Artículos y Precios" ("Descripción del artículo");

RESET ROLE;
